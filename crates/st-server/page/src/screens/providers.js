// @ts-check
/** Providers: whether each is reached, what runs there, and how it is asked. */

import { get, path, post, withQuery } from "../api.js";
import { notify } from "../dialogs.js";
import { isOfProviders } from "../events.js";
import { count, duration, money, NOTHING, plural, sentence, shortTime } from "../format.js";
import { useApi, useStore } from "../hooks.js";
import { FAMILIES, figures, whoActs } from "../places.js";
import { samples } from "../prometheus.js";
import { may, session, user } from "../session.js";
import { Bar, Button, ErrorBox, Facts, Heading, Loaded, Note, Section, Status, Time, Together } from "../ui.js";
import { html, useMemo, useState } from "../vendor/htm-preact-3.1.1.js";
import { askToRemoveToken, Polling, Settings, Token } from "./provider-forms.js";
import { askToResume, HoldForm } from "./queue-forms.js";

const OFTEN = { refreshOn: isOfProviders, every: 10_000 };
/** The task that asks providers about jobs. */
const POLLER = "job_status_polling";
/** The metrics of the whole server are a large answer. */
const SELDOM = { every: 60_000 };

/** @param {{gate: any, configured: boolean, isHeld: boolean}} of */
function State({ gate, configured, isHeld }) {
  if (!configured) return html`<${Status} status="revoked" label="not configured" />`;
  const reached = !gate ? html`<${Status} status="degraded" label="not known" />` : html`<${Status} status=${gate.open ? "open" : "closed"} label=${gate.open ? "accepts submissions" : "takes no submissions"} />`;
  return html`<span class="row tightly">${reached}${isHeld && html`<${Status} status="held" />`}</span>`;
}

/** @param {{provider: any, retry: (() => unknown) | null}} of */
function Closed({ provider, retry }) {
  const { gate } = provider;
  return html`<${Note} tone="bad"><strong>Nothing is submitted.</strong> ${sentence(gate.reason ?? "")} ${whoActs(gate.cause)}
    <div>First seen <${Time} at=${gate.since} />. ${gate.next_probe ? html`<span>Next try <${Time} at=${gate.next_probe} />. </span>` : "It is being tried now. "}
    ${retry && html`<${Button} run=${retry}>Try it now<//>`}</div><//>`;
}

/** What of its submissions is not settled. @param {any} provider */
function unsettled({ unsettled: unknown, strays, rechecks }) {
  const parts = [];
  if (unknown > 0) parts.push(`${plural(unknown, "submission")} with an unknown outcome`);
  if (strays > 0) parts.push(`${plural(strays, "job")} there twice, being cancelled`);
  if (rechecks > 0) parts.push(`${plural(rechecks, "submission")} still looked for`);
  return parts.length > 0 ? parts.join("; ") : "none";
}

/** @param {{provider: any, known: ReturnType<typeof figures> | null, limit: any, breaker: any}} of */
function Figures({ provider, known, limit, breaker }) {
  const jobs = known?.there.map(
    ({ status, number }) => html`<a key=${status} href=${withQuery("/", { provider: provider.id, status })}><${Status} status=${status} label=${`${count(number)} ${status}`} /></a>`,
  );
  const calls = known?.calls == null ? NOTHING : `${count(known.calls)}${known.failed ? `, of which ${count(known.failed)} failed` : ""}`;
  return html`<${Facts} items=${[
    ["Jobs waiting here", known ? html`<a href=${withQuery("/", { provider: provider.id, status: "pending" })}>${count(known.waiting)}</a>` : NOTHING],
    ["Jobs at the provider", known ? html`<span class="row tightly">${jobs?.length ? jobs : "none"}</span>` : NOTHING],
    ["Jobs at once", provider.max_concurrent === null ? "no limit of its own" : `${count(provider.max_concurrent)} at most`],
    ["Submissions possible now", count(known?.room)],
    ["Submissions accepted since the start", count(breaker?.success_count)],
    ["Outages since the start", breaker ? plural(breaker.failure_count, "time") : NOTHING],
    ["Calls since the start", calls],
    ["Mean response time", known?.meanSeconds == null ? NOTHING : shortTime(known.meanSeconds)],
    ["Unsettled submissions", unsettled(provider)],
    ["Account", provider.account?.name ?? "no name"],
    ["Address", html`<span class="mono">${provider.account?.base_url ?? NOTHING}</span>`],
    ...(limit ? [["Cost limit", html`<${Bar} used=${limit.used} most=${limit.limit_value} label=${`Cost limit of ${provider.name}`} text=${`${money(limit.used)} of ${money(limit.limit_value)}`} />`]] : []),
  ]} />`;
}

/** What a test of the connection came to. @param {{result: any}} of */
function Tested({ result }) {
  if (!result) return null;
  if (result.error instanceof Error) return html`<${ErrorBox} error=${result.error} title="The test failed" />`;
  if (!result.valid) return html`<${Note} tone="bad"><strong>The credential is not accepted.</strong> ${sentence(result.error ?? "")}<//>`;
  const { username, token_source: source } = result.user_info ?? {};
  const from = { stored: " The token is the stored one.", environment: " The token is the one of the environment." }[/** @type {"stored"} */ (source)] ?? "";
  return html`<${Note} tone="good">It is reached, and accepts our credential${username ? ` as ${username}` : ""}.${from}<//>`;
}

/**
 * @param {object} of
 * @param {any} of.provider
 * @param {import("../prometheus.js").Sample[] | null} of.metrics
 * @param {any} of.breaker
 * @param {any} of.limit
 * @param {any} of.hold
 * @param {boolean} of.isAdmin
 * @param {() => void} of.done
 */
function Provider({ provider, metrics, breaker, limit, hold, isAdmin, done }) {
  const [form, setForm] = useState(/** @type {null | "settings" | "token" | "hold"} */ (null));
  const [result, setResult] = useState(/** @type {any} */ (null));
  const known = useMemo(() => metrics && figures(metrics, provider.id), [metrics, provider.id]);
  const test = async () => {
    setResult(null);
    try {
      setResult(await get(path`/api/cloud/providers/${provider.id}/validate`));
    } catch (error) {
      setResult({ error });
    }
  };
  const retry = async () => {
    try {
      const { gate } = await post(path`/api/cloud/providers/${provider.id}/retry`);
      notify(gate?.open ? `${provider.name} accepts submissions again.` : `${provider.name} is tried now.`, { tone: gate?.open ? "good" : "info" });
    } catch (error) {
      setResult({ error });
    }
    done();
  };
  const close = () => setForm(null);
  const id = `provider-${provider.id}`;
  const needsToken = provider.id === "replicate";
  const actions = html`<div class="actions">
    ${provider.configured && html`<${Button} run=${test} label=${`Test the connection to ${provider.name}`}>Test the connection<//>`}
    ${isAdmin && html`<${Button} run=${() => setForm("settings")} label=${`Settings of ${provider.name}`}>Settings…<//>`}
    ${isAdmin && needsToken && html`<${Button} run=${() => setForm("token")} label=${`Store a token for ${provider.name}`}>Store a token…<//>`}
    ${isAdmin && needsToken && provider.configured && html`<${Button} run=${() => askToRemoveToken(provider, done)} label=${`Remove the token… of ${provider.name}`}>Remove the token…<//>`}
    ${isAdmin && (hold ? html`<${Button} run=${() => askToResume(hold, done)} label=${`Resume ${provider.name}`}>Resume…<//>` : html`<${Button} run=${() => setForm("hold")} label=${`Hold ${provider.name}`}>Hold…<//>`)}
  </div>`;
  return html`<section aria-labelledby=${id}>
    <div class="heading">
      <div class="row"><h2 id=${id}>${provider.name}</h2><${State} gate=${provider.gate} configured=${provider.configured} isHeld=${Boolean(hold)} /></div>
      ${actions}
    </div>
    <p class="faint">${sentence(provider.description)}</p>
    ${hold && html`<${Note} tone="warn"><strong>Held by ${hold.by}</strong>, <${Time} at=${hold.since} />${hold.reason ? `: ${hold.reason}` : ""}. Nothing new is submitted there.<//>`}
    ${provider.gate && !provider.gate.open && html`<${Closed} provider=${provider} retry=${isAdmin ? retry : null} />`}
    <div role="status"><${Tested} result=${result} /></div>
    ${provider.configured
      ? html`<${Figures} provider=${provider} known=${known} limit=${limit} breaker=${breaker} />`
      : html`<p>It can be used once ${needsToken ? "a token is stored, or REPLICATE_API_TOKEN is set in the environment of the server" : "the configuration of the server has it"}.</p>`}
    <div>
      ${form === "settings" && html`<${Settings} provider=${provider} close=${close} done=${done} />`}
      ${form === "token" && html`<${Token} provider=${provider} close=${close} done=${done} />`}
      ${form === "hold" && html`<${HoldForm} of=${{ scope: "provider", id: provider.id }} close=${close} done=${done} />`}
    </div>
  </section>`;
}

/** How providers are asked about their jobs. @param {{isAdmin: boolean}} of */
function Asking({ isAdmin }) {
  const polling = useApi("/api/cloud/polling/status", OFTEN);
  const task = useApi(path`/api/background/tasks/${POLLER}`, OFTEN);
  const [open, setOpen] = useState(false);
  const change = isAdmin && polling.data && html`<${Button} run=${() => setOpen(true)}>Change the polling…<//>`;
  return html`<${Section} title="Polling" id="polling" actions=${change}>
    <${Loaded} of=${polling} what="state of the polling">
      ${(/** @type {any} */ data) => html`<${Facts} items=${[
        ["Interval", data.is_active ? `every ${duration(data.interval_seconds)}` : "off: webhooks, and a slow sweep"],
        ["Why", sentence(data.reason)],
        ["Last poll", html`<${Time} at=${task.data?.last_run?.started_at} />`],
        ["Next poll", task.data?.current_run ? "now" : html`<${Time} at=${task.data?.next_run_at} />`],
        ["Last successful poll", html`<${Time} at=${task.data?.last_success_at} />`],
      ]} />`}
    <//>
    ${task.data?.last_run?.error && html`<${Note} tone="bad"><strong>The last poll failed.</strong> ${sentence(task.data.last_run.error)}<//>`}
    <div>${open && html`<${Polling} preference=${polling.data.preference} close=${() => setOpen(false)} done=${polling.reload} />`}</div>
  <//>`;
}

function Providers() {
  const isAdmin = may(user(useStore(session)), "admin");
  const list = useApi("/api/cloud/providers", OFTEN);
  const breakers = useApi("/api/cloud/circuit-breakers", OFTEN);
  const holds = useApi("/api/queue/holds", OFTEN);
  const quotas = useApi("/api/quotas", { refreshOn: isOfProviders, every: 30_000 });
  const text = useApi("/api/metrics/prometheus", SELDOM);
  const metrics = useMemo(() => (text.data ? samples(text.data.metrics, FAMILIES) : null), [text.data]);
  const done = () => [list, holds, quotas].forEach((it) => it.reload());
  const ofProvider = (/** @type {any[]} */ all, /** @type {string} */ id) => (all ?? []).find((it) => it.scope === "provider" && (it.id === id || it.scope_id === id));
  return html`<div class="screen">
    <${Heading}>Providers<//>
    <${Together} of=${[list, breakers, holds, quotas, text]} what="providers">
      ${() => html`<div class="screen">
        <${Loaded} of=${list} what="providers">
          ${(/** @type {any} */ data) => html`<div class="screen">${data.providers.map(
            (/** @type {any} */ provider) => html`<${Provider} key=${provider.id} provider=${provider} metrics=${metrics} isAdmin=${isAdmin} done=${done}
              breaker=${breakers.data?.circuit_breakers.find((/** @type {any} */ it) => it.name === provider.id)}
              limit=${ofProvider(quotas.data?.quotas.filter((/** @type {any} */ it) => it.id < 0), provider.id)}
              hold=${ofProvider(holds.data?.holds, provider.id)} />`,
          )}</div>`}
        <//>
        <${Asking} isAdmin=${isAdmin} />
      </div>`}
    <//>
  </div>`;
}

export { Providers as component };
