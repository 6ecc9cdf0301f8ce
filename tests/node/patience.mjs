// The official JavaScript client and a server that takes one call a second: node patience.mjs HOSTNAME PORT KEY. Calls
// without retries until it is refused, then once with them; prints how the refusal is named and what came at last.
import { WorkOS } from 'workos';

const [hostname, port, key] = process.argv.slice(2);
const client = (options) => new WorkOS(key, { apiHostname: hostname, port: Number(port), https: false, ...options });
const hasty = client({ maxRetries: 0 }).webhooks;
const patient = client({}).webhooks;

let refusal = null;
for (let calls = 0; refusal === null && calls < 50; calls += 1) {
  try {
    await hasty.listWebhookEndpoints();
  } catch ({ name, status, retryAfter, requestID }) {
    refusal = { name, status, retryAfter, hasRequestId: Boolean(requestID) };
  }
}
const { data } = await patient.listWebhookEndpoints();
process.stdout.write(JSON.stringify({ refusal, data }));
