// A webhook endpoint as the guide asks for one: verify the raw body, queue it, answer 200, process it afterwards.
import { WorkOS } from "@workos-inc/node";
import { after } from "next/server";

import { enqueue, processed } from "../../../worker.js";

const MOST_BYTES = 2 * 1024 * 1024;
const TOLERANCE_MS = 180_000;
const SIGNATURE = /^t=(\d{13}), ?v1=[0-9a-f]{64}$/;

// To verify takes no API key, but the client is not made without one.
const { webhooks } = new WorkOS(process.env.WORKOS_API_KEY || "sk_not_needed");

export async function POST(request, { params }) {
  if (!(await isHere(params))) return answer(404);
  if (!isAllowed(request)) return answer(403);
  if (!/^application\/json\s*(;|$)/i.test(request.headers.get("content-type") ?? "")) return answer(415);
  const body = await readAtMost(request, MOST_BYTES);
  if (body === null) return answer(413);
  if (!(await isGenuine(body, request.headers.get("workos-signature") ?? ""))) return answer(401);
  if (!enqueue(body)) return answer(503);
  after(processed); // a serverless function must live until then
  return answer(200);
}

async function notAllowed(request, { params }) {
  return (await isHere(params)) ? answer(405, { Allow: "POST" }) : answer(404);
}
export { notAllowed as DELETE, notAllowed as GET, notAllowed as HEAD, notAllowed as OPTIONS, notAllowed as PATCH };
export { notAllowed as PUT };

function answer(status, headers) {
  return new Response(null, { status, headers });
}

/** Whether the path is the one that nobody can guess, where there is such a one. */
async function isHere(params) {
  const { token = [] } = await params;
  return token.join("/") === (process.env.WEBHOOK_PATH_TOKEN ?? "");
}

function isAllowed(request) {
  const { ALLOWED_IPS, TRUSTED_PROXY_HOPS } = process.env;
  if (!ALLOWED_IPS) return true;
  const forwarded = (request.headers.get("x-forwarded-for") ?? "").split(",");
  const address = forwarded.at(-Number(TRUSTED_PROXY_HOPS)) ?? forwarded[0]; // what our own outermost proxy saw
  return ALLOWED_IPS.split(",").some((allowed) => allowed.trim() === address.trim());
}

/** The bytes as they came, which request.json() would not give; null where there are more than that. */
async function readAtMost(request, bytes) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.length;
    if (size > bytes) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function isGenuine(payload, sigHeader) {
  const signedAtMs = SIGNATURE.exec(sigHeader)?.[1];
  // The SDK (11.0.0) refuses what was signed too long ago, and accepts any time to come and any that is no number.
  if (!signedAtMs || Math.abs(Date.now() - Number(signedAtMs)) > TOLERANCE_MS) return false;
  const secret = process.env.WORKOS_WEBHOOK_SECRET;
  try {
    return await webhooks.verifyHeader({ payload, sigHeader, secret, tolerance: TOLERANCE_MS });
  } catch {
    return false;
  }
}
