require "openssl"

# The guide's manual steps, over the body's bytes as they came.
module WebhookSignature
  TOLERANCE_MS = 180_000
  HEADER = /\At=(?<signed_at_ms>[0-9]{13}), ?v1=(?<hash>[0-9a-f]{64})\z/

  def self.genuine?(body, header, secret)
    parts = HEADER.match(header.to_s.b) or return false
    expected = OpenSSL::HMAC.hexdigest("SHA256", secret, "#{parts[:signed_at_ms]}.".b + body.b)
    return false unless OpenSSL.fixed_length_secure_compare(expected, parts[:hash])

    now_ms = Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond)
    (now_ms - parts[:signed_at_ms].to_i).abs <= TOLERANCE_MS # too old, or from a time to come
  end
end
