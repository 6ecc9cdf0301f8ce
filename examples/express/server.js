// A webhook endpoint as the guide asks for one: verify the raw body, queue it, answer 200, process it afterwards.
import { WorkOS } from "@workos-inc/node";
import express from "express";

import { enqueue } from "./worker.js";

const { ALLOWED_IPS, TRUSTED_PROXY_HOPS, WEBHOOK_PATH_TOKEN, WORKOS_WEBHOOK_SECRET: secret } = process.env;
const { HOST = "127.0.0.1", PORT = "8080" } = process.env;
const TOLERANCE_MS = 180_000;
const SIGNATURE = /^t=(\d{13}), ?v1=[0-9a-f]{64}$/;

if (!secret) {
  console.error("WORKOS_WEBHOOK_SECRET: expected the endpoint's secret, got nothing: nothing could be verified.");
  process.exit(2);
}

// To verify takes no API key, but the client is not made without one.
const { webhooks } = new WorkOS(process.env.WORKOS_API_KEY || "sk_not_needed");
const allowed = ALLOWED_IPS && new Set(ALLOWED_IPS.split(",").map((address) => address.trim()));

async function isGenuine(payload, sigHeader = "") {
  const signedAtMs = SIGNATURE.exec(sigHeader)?.[1];
  // The SDK (11.0.0) refuses what was signed too long ago, and accepts any time to come and any that is no number.
  if (!signedAtMs || Math.abs(Date.now() - Number(signedAtMs)) > TOLERANCE_MS) return false;
  try {
    return await webhooks.verifyHeader({ payload, sigHeader, secret, tolerance: TOLERANCE_MS });
  } catch {
    return false;
  }
}

const app = express();
app.disable("x-powered-by");
app.set("trust proxy", Number(TRUSTED_PROXY_HOPS || 0)); // so many X-Forwarded-For entries, from the right, count

app.all("/webhooks{/:token}", (request, response, next) => {
  if (request.params.token !== (WEBHOOK_PATH_TOKEN || undefined)) return response.sendStatus(404);
  if (request.method !== "POST") return response.set("Allow", "POST").sendStatus(405);
  if (allowed && !allowed.has(request.ip.replace(/^::ffff:/, ""))) return response.sendStatus(403);
  if (!request.is("application/json")) return response.sendStatus(415);
  next();
});

// express.raw and not express.json, which would leave an object: other bytes than were signed.
app.post(
  "/webhooks{/:token}",
  express.raw({ type: "application/json", limit: "2mb", inflate: false }),
  async (request, response) => {
    if (!(await isGenuine(request.body, request.get("WorkOS-Signature")))) return response.sendStatus(401);
    response.sendStatus(enqueue(request.body) ? 200 : 503);
  },
);

// A body too large or cut short: what Express says to itself is not for the sender.
app.use((error, request, response, next) => {
  if (response.headersSent) return next(error);
  response.sendStatus(error.status ?? 500);
});

const server = app.listen(Number(PORT), HOST, (error) => {
  if (error) throw error;
  console.log(`listening on http://${HOST}:${server.address().port}/webhooks`);
});
process.on("SIGTERM", () => server.close()); // answers what has come, processes what is queued, and ends
