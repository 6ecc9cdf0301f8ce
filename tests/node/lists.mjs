// The official JavaScript client reads what a source holds: node lists.mjs HOSTNAME PORT KEY ASKED, where ASKED is JSON
// with a directory, a group, a user, an organization and an external id. Prints the ids of every list in both orders, each
// object on its own, and how it names our refusals; then it deletes the directory `doomed`.
import { WorkOS } from 'workos';

const [hostname, port, key, text] = process.argv.slice(2);
const asked = JSON.parse(text);
const client = new WorkOS(key, { apiHostname: hostname, port: Number(port), https: false, maxRetries: 0 });
const { directorySync, organizations, events } = client;

async function walk(list) {
  const walked = {};
  for (const order of ['desc', 'asc']) {
    walked[order] = (await (await list({ order })).autoPagination()).map(({ id }) => id);
  }
  return walked;
}

async function refusal(call) {
  try {
    await call();
  } catch ({ name, status, message, requestID }) {
    return { name, status, message, hasRequestId: Boolean(requestID) };
  }
  return null;
}

async function feed(types) {
  const seen = [];
  for (let after; ; after = seen.at(-1)) {
    const page = await events.listEvents({ events: types, limit: 100, ...(after && { after }) });
    seen.push(...page.data.map(({ id }) => id));
    if (!page.listMetadata.after) return seen;
  }
}

const lists = {
  organizations: (options) => organizations.listOrganizations(options),
  directories: (options) => directorySync.listDirectories(options),
  directoriesOf: (options) => directorySync.listDirectories({ organizationId: asked.organization, ...options }),
  users: (options) => directorySync.listUsers({ directory: asked.directory, ...options }),
  members: (options) => directorySync.listUsers({ group: asked.group, ...options }),
  groups: (options) => directorySync.listGroups({ directory: asked.directory, ...options }),
  groupsOf: (options) => directorySync.listGroups({ user: asked.user, ...options }),
};
const names = Object.keys(lists);
const walks = await Promise.all(names.map((name) => walk(lists[name])));
const result = {
  lists: Object.fromEntries(names.map((name, at) => [name, walks[at]])),
  feed: await feed(['dsync.user.created', 'dsync.group.user_added']),
  objects: {
    organization: await organizations.getOrganization(asked.organization),
    external: await organizations.getOrganizationByExternalId(asked.external),
    directory: await directorySync.getDirectory(asked.directory),
    user: await directorySync.getUser(asked.user),
    group: await directorySync.getGroup(asked.group),
  },
  missing: await refusal(() => directorySync.getUser('directory_user_x')),
  unselected: await refusal(() => directorySync.listUsers({})),
  unknown: await refusal(() => events.listEvents({ events: ['user.created'], organizationId: 'org_x' })),
};
await directorySync.deleteDirectory(asked.doomed);
result.deleted = await refusal(() => directorySync.getDirectory(asked.doomed));
process.stdout.write(JSON.stringify(result));
