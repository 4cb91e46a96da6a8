// @ts-check
/** The screens: which there are, who sees them, and where their modules are. */

import { shortId } from "./format.js";
import { Screen as SignInScreen } from "./screens/signin.js";

/**
 * @typedef {(of: {params: Record<string, string>, query: URLSearchParams}) => unknown} Component
 *
 * @typedef {object} Screen
 * @property {string} path With `:name` where a part of the path names something.
 * @property {string | ((params: Record<string, string>) => string)} title Of the window.
 * @property {import("./session.js").Role} role Who may see it.
 * @property {{text: string, keys?: string}} [nav] Its entry in the navigation, where it has one.
 * @property {string} [parent] The path of the screen that it belongs to, where it has no entry itself.
 * @property {boolean} [open] Whether it is shown to those who are not signed in.
 * @property {boolean} [changes] Whether it is there to change something, so that reading is not enough for it.
 * @property {Component} [component] Of a screen that is there at once.
 * @property {() => Promise<{component: Component}>} [load] Of one that is loaded when it is opened first.
 */

/** In the order of the navigation. @type {Screen[]} */
export const SCREENS = [
  {
    path: "/",
    title: "Jobs",
    role: "viewer",
    nav: { text: "Jobs", keys: "g j" },
    load: () => import("./screens/jobs.js"),
  },
  {
    path: "/jobs/:id",
    title: ({ id }) => `Job ${shortId(id)}`,
    role: "viewer",
    parent: "/",
    load: () => import("./screens/job.js"),
  },
  {
    path: "/submit",
    title: "Submit a job",
    role: "researcher",
    changes: true,
    parent: "/",
    load: () => import("./screens/submit.js"),
  },
  {
    path: "/queue",
    title: "Queue",
    role: "viewer",
    nav: { text: "Queue", keys: "g q" },
    load: () => import("./screens/queue.js"),
  },
  {
    path: "/approvals",
    title: "Approvals",
    role: "viewer",
    nav: { text: "Approvals", keys: "g a" },
    load: () => import("./screens/approvals.js"),
  },
  {
    path: "/costs",
    title: "Costs",
    role: "viewer",
    nav: { text: "Costs", keys: "g c" },
    load: () => import("./screens/costs.js"),
  },
  {
    path: "/providers",
    title: "Providers",
    role: "viewer",
    nav: { text: "Providers", keys: "g p" },
    load: () => import("./screens/providers.js"),
  },
  {
    path: "/system",
    title: "System",
    role: "viewer",
    nav: { text: "System", keys: "g y" },
    load: () => import("./screens/system.js"),
  },
  {
    path: "/audit",
    title: "Audit",
    role: "admin",
    nav: { text: "Audit", keys: "g t" },
    load: () => import("./screens/audit.js"),
  },
  {
    path: "/keys",
    title: "Keys",
    role: "admin",
    nav: { text: "Keys", keys: "g k" },
    load: () => import("./screens/keys.js"),
  },
  { path: "/signin", title: "Sign in", role: "viewer", open: true, component: SignInScreen },
];
