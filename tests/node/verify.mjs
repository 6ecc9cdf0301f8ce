// Puts deliveries before the official JavaScript SDKs: a JSON array of cases on standard input, answers on output.
// A case: {sdk, form: "text" | "bytes" | "object", body (base64), header, secret, tolerance (ms, or null)}.
// An answer: {accepted: id, event: type} or {refused: message}. Releases before 9 verify types they do not know and then return
// nothing: {accepted: null}.
import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';

const require = createRequire(import.meta.url);
const forms = {
  text: (body) => body.toString('utf8'),
  bytes: (body) => body,
  object: (body) => JSON.parse(body.toString('utf8')),
};

async function answer({ sdk, form, body, header, secret, tolerance }) {
  const { WorkOS } = require(sdk);
  const payload = forms[form](Buffer.from(body, 'base64'));
  const { webhooks } = new WorkOS('sk_test_nobody', { clientId: 'client_nobody' });
  try {
    const event = await webhooks.constructEvent({
      payload,
      sigHeader: header,
      secret,
      ...(tolerance === null ? {} : { tolerance }),
    });
    return event ? { accepted: event.id, event: event.event } : { accepted: null };
  } catch (error) {
    return { refused: `${error.name}: ${error.message}` };
  }
}

const answers = [];
for (const one of JSON.parse(await text(process.stdin))) {
  answers.push(await answer(one));
}
process.stdout.write(JSON.stringify(answers));
