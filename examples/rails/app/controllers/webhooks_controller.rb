# Metal, so that nothing of Rails parses the body or writes it to the log.
class WebhooksController < ActionController::Metal
  include ActionController::Head

  MOST_BYTES = 2 * 1024 * 1024

  def create
    head answer
  end

  def not_allowed
    head :method_not_allowed, allow: "POST"
  end

  private

  def answer
    return :forbidden unless settings.allowed_ips.empty? || settings.allowed_ips.include?(address)
    return :unsupported_media_type unless request.media_type == "application/json"
    return :payload_too_large if request.content_length.to_i > MOST_BYTES

    body = request.body.read(MOST_BYTES + 1) || +""
    return :payload_too_large if body.bytesize > MOST_BYTES
    return :unauthorized unless WebhookSignature.genuine?(body, request.headers["WorkOS-Signature"], settings.secret)

    WebhookJob.perform_later(body.force_encoding(Encoding::UTF_8))
    :ok
  rescue Concurrent::RejectedExecutionError
    :service_unavailable # the queue is full: the sender comes again
  end

  def address
    forwarded = request.headers["X-Forwarded-For"].to_s.split(",").map(&:strip)
    [*forwarded, request.headers["REMOTE_ADDR"]].last(settings.proxy_hops + 1).first
  end

  def settings
    Rails.configuration.x
  end
end
