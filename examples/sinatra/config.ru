require_relative "app"

run Webhooks
