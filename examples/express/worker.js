// Processes events after they were answered, one after the other, whatever their order and however often they come.
//
// The queue, the ids and the mirror are in memory here, which a restart empties. In an app that must lose nothing they
// are tables of its database, and the event is stored before the 200.
const MOST_QUEUED = 10_000;
const REMEMBERED_MS = 4 * 24 * 3_600_000; // retries come for three days

const seen = new Map(); // event id -> when it was processed, oldest first
const mirror = new Map(); // object id -> { asOf, data }; data is null once the object is deleted
let queued = 0;
let last = Promise.resolve();

/** Whether there was room for it: a sender that is told 503 comes again. */
export function enqueue(body) {
  if (queued >= MOST_QUEUED) return false;
  queued += 1;
  last = last
    .then(() => apply(JSON.parse(body)))
    .catch((error) => console.error(`an event could not be processed: ${error.name}`))
    .finally(() => (queued -= 1));
  return true;
}

async function apply(event) {
  if (seen.has(event.id)) return console.log(`${event.id} ${event.event}: duplicate, ignored`);
  const changes = observations(event);
  const applied = changes.filter(([id, asOf, data]) => upsert(id, asOf, data));
  remember(event.id, Date.now());
  const outcome = applied.length ? "applied" : changes.length ? "stale, ignored" : "nothing to do";
  console.log(`${event.id} ${event.event}: ${outcome}`);
}

/** What an event says of which objects: id, as of when, and the object, or null for one that is gone. */
function observations({ event, data, created_at }) {
  const membership = () => `${data.group.id}/${data.user.id}`;
  switch (event) {
    case "dsync.user.created":
    case "dsync.user.updated":
    case "dsync.group.created":
    case "dsync.group.updated":
      return [[data.id, data.updated_at, data]];
    case "dsync.user.deleted":
    case "dsync.group.deleted":
      return [[data.id, created_at, null]];
    case "dsync.group.user_added": // maybe before its user's and its group's own events: it has them whole
      return [
        [data.user.id, data.user.updated_at, data.user],
        [data.group.id, data.group.updated_at, data.group],
        [membership(), created_at, { user: data.user.id, group: data.group.id }],
      ];
    case "dsync.group.user_removed":
      return [[membership(), created_at, null]];
    default:
      return [];
  }
}

/** Writes what is not older than what is there; the deleted stay, so that nothing late brings them back. */
function upsert(id, timestamp, data) {
  const asOf = Date.parse(timestamp);
  if (Number.isNaN(asOf)) throw new RangeError("no time"); // nothing would be older than that, and nothing newer
  const kept = mirror.get(id);
  if (kept && asOf < kept.asOf) return false;
  mirror.set(id, { asOf, data });
  return true;
}

function remember(id, nowMs) {
  seen.set(id, nowMs);
  for (const [oldest, whenMs] of seen) {
    if (nowMs - whenMs < REMEMBERED_MS) break;
    seen.delete(oldest);
  }
}
