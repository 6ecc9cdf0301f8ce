# Processes an event after it was answered.
class WebhookJob < ActiveJob::Base
  discard_on(StandardError) { |_, error| Rails.logger.error "an event could not be processed: #{error.class}" }

  def perform(body)
    event = JSON.parse(body)
    Rails.logger.info "#{event["id"]} #{event["event"]}: #{Mirror.apply(event)}"
  end
end
