// The official JavaScript client in front of our API: node client.mjs HOSTNAME PORT KEY AFTER. Creates, lists,
// updates and deletes endpoints, lists the events after one, and prints what it saw as one JSON object.
import { WorkOS } from 'workos';

const [hostname, port, key, after] = process.argv.slice(2);
const { webhooks, events } = new WorkOS(key, { apiHostname: hostname, port: Number(port), https: false });
const types = ['dsync.user.created', 'dsync.user.updated'];

const created = await webhooks.createWebhookEndpoint({ endpointUrl: 'http://127.0.0.1:9/node', events: types });
let conflict;
try {
  await webhooks.createWebhookEndpoint({ endpointUrl: created.endpointUrl, events: types });
} catch (error) {
  conflict = { name: error.name, status: error.status, hasRequestId: Boolean(error.requestID) };
}
const updated = await webhooks.updateWebhookEndpoint({ id: created.id, status: 'disabled', events: ['dsync.deleted'] });
const all = await (await webhooks.listWebhookEndpoints()).autoPagination();
await webhooks.deleteWebhookEndpoint({ id: created.id });
const left = await (await webhooks.listWebhookEndpoints()).autoPagination();
const feed = await events.listEvents({ events: types, after });

process.stdout.write(
  JSON.stringify({
    created,
    conflict,
    updated,
    all: all.map(({ id }) => id),
    left: left.map(({ id }) => id),
    feed: feed.data.map(({ id, event, data }) => ({ id, event, email: data.email })),
  }),
);
