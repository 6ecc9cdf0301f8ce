export default {
  poweredByHeader: false,
  skipTrailingSlashRedirect: true, // a redirect of a POST is not followed: the event would be lost
  turbopack: { root: import.meta.dirname },
};
