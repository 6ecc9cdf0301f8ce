# A webhook endpoint as the guide asks for one: verify the raw body, queue it, answer 200, process it afterwards.
require "sinatra/base"

require_relative "signature"
require_relative "worker"

class Webhooks < Sinatra::Base
  SECRET = ENV["WORKOS_WEBHOOK_SECRET"].to_s
  if SECRET.empty?
    abort "WORKOS_WEBHOOK_SECRET: expected the endpoint's secret, got nothing: nothing could be verified."
  end

  TOKEN = ENV["WEBHOOK_PATH_TOKEN"].to_s
  PATH = %r{#{Regexp.escape(TOKEN.empty? ? "/webhooks" : "/webhooks/#{TOKEN}")}/?}
  ALLOWED = ENV["ALLOWED_IPS"].to_s.split(",").map(&:strip)
  HOPS = ENV["TRUSTED_PROXY_HOPS"].to_i # so many X-Forwarded-For entries, from the right, are believed
  MOST_BYTES = 2 * 1024 * 1024
  WORKER = Worker.new
  at_exit { WORKER.stop }

  disable :show_exceptions, :raise_errors

  post PATH do
    halt 403 unless ALLOWED.empty? || ALLOWED.include?(address)
    halt 415 unless request.media_type == "application/json"
    halt 413 if request.content_length.to_i > MOST_BYTES
    body = request.body.read(MOST_BYTES + 1).to_s # the bytes, before any JSON reader
    halt 413 if body.bytesize > MOST_BYTES
    halt 401 unless Signature.genuine?(body, request.env["HTTP_WORKOS_SIGNATURE"], SECRET)
    status WORKER.enqueue(body) ? 200 : 503
  end

  %i[get put patch delete options].each do |verb|
    public_send(verb, PATH) { halt 405, { "Allow" => "POST" }, nil }
  end

  error { "" } # what went wrong is for the log, not for the sender

  private

  def address
    forwarded = request.env["HTTP_X_FORWARDED_FOR"].to_s.split(",").map(&:strip)
    [*forwarded, request.env["REMOTE_ADDR"]].last(HOPS + 1).first
  end
end
