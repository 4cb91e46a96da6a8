// @ts-check
/** Keys: who may use the server, and as what. */

import { keyBody, keyState, PAGE } from "../accounts.js";
import { del, path, post, signIn, withQuery } from "../api.js";
import { confirm, Dialog, notify } from "../dialogs.js";
import { filterChanges } from "../filters.js";
import { Checks, FormDialog, Input } from "../forms.js";
import { useApi, useStore } from "../hooks.js";
import { useKeys } from "../keys.js";
import { setQuery } from "../router.js";
import { session, user } from "../session.js";
import { Button, Copy, Heading, Loaded, Note, Status, Table, Time } from "../ui.js";
import { html, useState } from "../vendor/htm-preact-3.1.1.js";

/** @type {[value: string, text: string][]} */
const ROLES = [
  ["viewer", "viewer: reads"],
  ["researcher", "researcher: submits, and cancels own jobs"],
  ["lead", "lead: approves, and sets priorities"],
  ["admin", "admin: everything"],
];
/** @type {[value: string, text: string][]} */
const SCOPES = [["read", "read"], ["submit", "submit"], ["approve", "approve"], ["admin", "admin"]];

/** @param {{isFirst: boolean, close: () => void, made: (made: any) => void}} of */
function CreateForm({ isFirst, close, made }) {
  const initial = { name: "", user: "", role: isFirst ? "admin" : "researcher", scopes: [], expires_at: "", team_id: "", org_id: "" };
  const send = async (/** @type {Record<string, any>} */ values) => {
    const answer = await post("/api/keys", keyBody(values));
    if (isFirst) {
      // From now on a key is needed, and this is the only one.
      try {
        await signIn(answer.secret);
      } catch {
        notify("The key is made, but you could not be signed in with it. Keep it, and sign in.", { tone: "bad" });
      }
    }
    made(answer);
  };
  return html`<${FormDialog} title="Make a key" action="Make the key" initial=${initial} send=${send} close=${close} wide>
    ${(/** @type {any} */ form) => html`<div class="stack">
      ${isFirst && html`<${Note} tone="warn">This is the first key: from now on everybody needs one. It must be an administrator's, and you are signed in with it.<//>`}
      <div class="split">
        <${Input} form=${form} name="name" label="Name of the key" hint="Where it is used, such as laptop or CI." required />
        <${Input} form=${form} name="user" label="User" hint="Whose jobs they are that it submits." required />
        <${Input} form=${form} name="role" label="Role" options=${ROLES} disabled=${isFirst} />
        <${Input} form=${form} name="expires_at" label="Expires" type="datetime-local" hint="In your own time zone. Empty: never." />
        <${Input} form=${form} name="team_id" label="Team" hint="For whose limits its jobs count." />
        <${Input} form=${form} name="org_id" label="Organization" hint="For whose limits its jobs count." />
      </div>
      <${Checks} form=${form} name="scopes" label="Only for" options=${SCOPES} hint="None chosen: all that the role allows." />
    </div>`}
  <//>`;
}

/** The one time that a secret is shown. @param {{made: any, close: () => void}} of */
function Secret({ made, close }) {
  return html`<${Dialog} title=${`The key “${made.key.name}” is made`} close=${() => {}}>
    <p>This is the only time that it is shown: the server keeps no copy. Give it to ${made.key.user}, or store it where it is used.</p>
    <pre class="secret"><${Copy} text=${made.secret} what="key" /></pre>
    <div class="actions end"><${Button} run=${close} tone="main">I have stored it<//></div>
  <//>`;
}

/** @param {any} key @param {boolean} isOwn @param {() => void} done */
function askToRevoke(key, isOwn, done) {
  confirm({
    title: `Revoke the key “${key.name}”?`,
    text: html`<p>${isOwn ? "You are signed in with this key, and will be signed out. " : ""}What uses it is refused from now on, and its sessions end. Jobs of ${key.user} go on. A revoked key does not come back: make another one instead.</p>`,
    action: "Revoke the key",
    danger: true,
    run: async () => {
      await del(path`/api/keys/${key.id}`);
      notify(`The key “${key.name}” is revoked.`);
      done();
    },
  });
}

/** For whose limits the jobs of a key count. @param {{of: any}} of */
function Groups({ of }) {
  const groups = [of.team_id && `team ${of.team_id}`, of.org_id && `organization ${of.org_id}`].filter(Boolean);
  return groups.length > 0 && html`<div class="small faint">${groups.join(", ")}</div>`;
}

/** @param {{keys: any[], own: string | null, done: () => void}} of */
function List({ keys, own, done }) {
  /** @type {import("../ui.js").Column<any>[]} */
  const columns = [
    { key: "name", label: "Key", kind: "text", cell: (key) => html`<div><strong><bdi>${key.name}</bdi></strong>${key.id === own && html`<span class="small"> (yours now)</span>`}<div class="small faint mono nowrap">${key.id}</div></div>` },
    { key: "user", label: "User", cell: (key) => html`<div><bdi>${key.user}</bdi><${Groups} of=${key} /></div>` },
    { key: "role", label: "Role", cell: (key) => html`<div>${key.role}${key.scopes && html`<div class="small faint">only ${key.scopes.join(", ")}</div>`}</div>` },
    { key: "used", label: "Last used", cell: (key) => html`<${Time} at=${key.last_used_at} none="never" />` },
    { key: "expires", label: "Expires", cell: (key) => html`<${Time} at=${key.expires_at} none="never" />` },
    { key: "made", label: "Made", cell: (key) => html`<div><${Time} at=${key.created_at} /><div class="small faint">by ${key.created_by}</div></div>` },
    { key: "state", label: "State", kind: "tight", cell: (key) => html`<div><${Status} ...${keyState(key)} />${key.revoked_at && html`<div class="small faint"><${Time} at=${key.revoked_at} /></div>`}</div>` },
    {
      key: "do",
      label: html`<span class="hidden">Action</span>`,
      kind: "tight",
      cell: (key) => key.revoked_at === null && html`<${Button} run=${() => askToRevoke(key, key.id === own, done)} tone="danger" label=${`Revoke… the key ${key.name}`}>Revoke…<//>`,
    },
  ];
  return html`<${Table} caption="Keys, newest first" columns=${columns} rows=${keys} rowKey=${(/** @type {any} */ key) => key.id}
    empty="There are no keys, so that everybody who reaches the server is its administrator. Make one for yourself, and then for others." />`;
}

/** @param {{query: URLSearchParams}} of */
function Keys({ query }) {
  const now = useStore(session);
  const cursor = query.get("cursor");
  const list = useApi(withQuery("/api/keys", { limit: PAGE, cursor }));
  const [isMaking, setMaking] = useState(false);
  const [made, setMade] = useState(/** @type {any} */ (null));
  useKeys([{ keys: "n", text: "Make a key", run: () => setMaking(true) }], []);
  const turn = (/** @type {string | null} */ to) => setQuery(filterChanges({ cursor: to }));
  const stored = () => {
    setMade(null);
    list.reload();
  };
  const own = /** @type {any} */ (user(now))?.key_id ?? null;
  return html`<div class="screen">
    <${Heading} actions=${html`<${Button} run=${() => setMaking(true)} tone="main" keys="n">Make a key…<//>`}>Keys<//>
    <${Loaded} of=${list} what="keys">${(/** @type {any} */ data) => html`<${List} keys=${data.keys} own=${own} done=${list.reload} />`}<//>
    <div class="actions">
      <${Button} run=${() => turn(null)} disabled=${cursor === null}>Newest<//>
      <${Button} run=${() => history.back()} disabled=${cursor === null}>Back<//>
      <${Button} run=${() => turn(list.data?.next ?? null)} disabled=${!list.data?.next}>Older<//>
    </div>
    <div>
      ${isMaking && html`<${CreateForm} isFirst=${now.state === "open"} close=${() => setMaking(false)} made=${setMade} />`}
      ${made && html`<${Secret} made=${made} close=${stored} />`}
    </div>
  </div>`;
}

export { Keys as component };
