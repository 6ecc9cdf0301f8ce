require_relative "config/application"

Rails.application.initialize!
at_exit { ActiveJob::Base.queue_adapter.shutdown } # processes what is queued, then ends

run Rails.application
