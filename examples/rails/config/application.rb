require "rails"
require "action_controller/railtie"
require "active_job/railtie"

if ENV["WORKOS_WEBHOOK_SECRET"].to_s.empty?
  abort "WORKOS_WEBHOOK_SECRET: expected the endpoint's secret, got nothing: nothing could be verified."
end

class Endpoint < Rails::Application
  config.root = File.expand_path("..", __dir__)
  config.load_defaults 6.1
  config.api_only = true
  config.eager_load = true
  config.secret_key_base = SecureRandom.hex(64) # for cookies, of which there are none
  config.logger = ActiveSupport::Logger.new($stdout, formatter: ->(_, _, _, line) { "#{line}\n" })
  config.middleware.delete Rails::Rack::Logger # it writes paths, and the token is in one

  # One thread, so that events are processed one after the other; a full queue is an error.
  config.active_job.queue_adapter = ActiveJob::QueueAdapters::AsyncAdapter.new(
    max_threads: 1, max_queue: 10_000, fallback_policy: :abort
  )
  config.active_job.logger = nil # it writes arguments, which are people's names and addresses

  config.x.secret = ENV.fetch("WORKOS_WEBHOOK_SECRET")
  config.x.path = ["/webhooks", ENV["WEBHOOK_PATH_TOKEN"].presence].compact.join("/")
  config.x.allowed_ips = ENV["ALLOWED_IPS"].to_s.split(",").map(&:strip)
  config.x.proxy_hops = ENV["TRUSTED_PROXY_HOPS"].to_i # so many X-Forwarded-For entries, from the right, are believed
end
