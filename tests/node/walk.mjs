// The official JavaScript client pages through our endpoints: node walk.mjs HOSTNAME PORT KEY. Prints the ids it saw,
// newest first and oldest first, and how it names our refusals, as one JSON object.
import { WorkOS } from 'workos';

const [hostname, port, key] = process.argv.slice(2);
const client = (apiKey) =>
  new WorkOS(apiKey, { apiHostname: hostname, port: Number(port), https: false, maxRetries: 0 }).webhooks;
const webhooks = client(key);

async function walk(order) {
  const ids = [];
  for (const { id } of await (await webhooks.listWebhookEndpoints({ order })).autoPagination()) ids.push(id);
  return ids;
}

async function refusal(call) {
  try {
    await call();
  } catch ({ name, status, code, requestID }) {
    return { name, status, code, hasRequestId: Boolean(requestID) };
  }
  return null;
}

const events = ['dsync.deleted'];
process.stdout.write(
  JSON.stringify({
    desc: await walk('desc'),
    asc: await walk('asc'),
    unauthorized: await refusal(() => client('sk_live_wrong').listWebhookEndpoints()),
    missing: await refusal(() => webhooks.deleteWebhookEndpoint({ id: 'we_unknown' })),
    unprocessable: await refusal(() =>
      webhooks.createWebhookEndpoint({ endpointUrl: 'http://127.0.0.1:9/x', events: ['dsync.*'] }),
    ),
    notUrl: await refusal(() => webhooks.createWebhookEndpoint({ endpointUrl: 'ftp://127.0.0.1/', events })),
  }),
);
