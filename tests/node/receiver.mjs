// A receiver as a Node app would have it: an HTTP server whose webhooks the official SDK verifies, each raw and parsed.
// Prints its port as the first line; then one line for each delivery: {id, type, header, text, bytes, object}, where
// each way of verifying holds the id of the event it saw, or why it was refused. PUT /secret tells it the secret; POST
// /first-fails answers the first delivery of each event 500.
import { createServer } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { WorkOS } from 'workos';

const { webhooks } = new WorkOS('sk_test_nobody', { clientId: 'client_nobody' });
const seen = new Set();
let secret;

async function verdict(payload, sigHeader) {
  try {
    const event = await webhooks.constructEvent({ payload, sigHeader, secret });
    return event.id;
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}

const server = createServer(async (request, response) => {
  const body = await buffer(request);
  if (request.method === 'PUT') {
    secret = body.toString('utf8');
    response.writeHead(204).end();
    return;
  }
  const header = request.headers['workos-signature'];
  const parsed = JSON.parse(body.toString('utf8'));
  const answers = {
    text: await verdict(body.toString('utf8'), header),
    bytes: await verdict(body, header),
    object: await verdict(parsed, header),
  };
  const isFirst = !seen.has(parsed.id);
  seen.add(parsed.id);
  const isAccepted = Object.values(answers).every((answer) => answer === parsed.id);
  const status = request.url === '/first-fails' && isFirst ? 500 : isAccepted ? 200 : 400;
  response.writeHead(status).end();
  process.stdout.write(`${JSON.stringify({ id: parsed.id, type: parsed.event, header, status, ...answers })}\n`);
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`));
