// What is wrong with the settings is said at the start, and not to the sender.
const { ALLOWED_IPS, TRUSTED_PROXY_HOPS, WORKOS_WEBHOOK_SECRET } = process.env;

if (!WORKOS_WEBHOOK_SECRET) {
  refuse("WORKOS_WEBHOOK_SECRET: expected the endpoint's secret, got nothing: nothing could be verified.");
}
if (ALLOWED_IPS && !(Number(TRUSTED_PROXY_HOPS) >= 1)) {
  refuse(
    "TRUSTED_PROXY_HOPS: expected 1 or more beside ALLOWED_IPS, got none. Next.js does not say who connected, only " +
      "what X-Forwarded-For claims, and without a proxy that is what the caller likes.",
  );
}

function refuse(reason) {
  console.error(reason);
  process.exit(2);
}
