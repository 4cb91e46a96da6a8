// @ts-check
/** What an administrator changes of a provider: its settings, its token, and whether providers are polled. */

import { del, path, put } from "../api.js";
import { confirm, Dialog, notify } from "../dialogs.js";
import { FormDialog, Input } from "../forms.js";
import { useApi } from "../hooks.js";
import { formOf, otherSettings, settingsBody } from "../places.js";
import { Loaded, Note } from "../ui.js";
import { html } from "../vendor/htm-preact-3.1.1.js";

/** @type {[value: string, text: string][]} */
const SWITCH = [["", "as it is by default"], ["true", "yes"], ["false", "no"]];
/** @type {[value: string, text: string][]} */
const PERIODS = [["", "not chosen"], ["daily", "a day"], ["weekly", "a week"], ["monthly", "a month"]];
/** @type {[value: string, text: string][]} */
const ACTIONS = [
  ["", "not chosen"],
  ["warn", "warn"],
  ["block", "refuse jobs"],
  ["require_approval", "ask an administrator for approval"],
  ["stop", "refuse jobs, and stop those that run"],
];

/** @param {{form: any, provider: any}} of */
function Fields({ form, provider }) {
  const { data } = useApi(path`/api/cloud/providers/${provider.id}/versions`);
  const field = (/** @type {string} */ name, /** @type {string} */ label, /** @type {object} */ more = {}) =>
    html`<${Input} form=${form} name=${name} label=${label} ...${more} />`;
  const number = { type: "number" };
  return html`<div class="stack">
    <p>What is empty is as the configuration of the server has it, or by default. Changes hold at once, and after a restart.</p>
    <fieldset><legend>Jobs</legend><div class="split">
      ${field("max_concurrent", "Jobs at once", { ...number, hint: "Empty: no limit of its own." })}
      ${field("max_runtime_minutes", "Longest run, in minutes", { ...number, hint: "A job that takes longer is ended." })}
      ${field("hardware_profile", "Hardware profile", { hint: "What a job gets that names none." })}
      ${field("version_override", "Version that runs", { hint: data?.current_version && html`<span>Now: <code>${data.current_version}</code></span>` })}
    </div></fieldset>
    <fieldset><legend>Cost limit</legend><div class="split">
      ${field("cost_limit_enabled", "Limit the costs", { options: SWITCH })}
      ${field("cost_limit_amount", "At most, in US dollars", number)}
      ${field("cost_limit_period", "Within", { options: PERIODS })}
      ${field("cost_limit_action", "Beyond it", { options: ACTIONS })}
    </div></fieldset>
    <fieldset><legend>Webhook of the provider</legend><div class="split">
      ${field("webhook_url", "Address that it reports to", { hint: "Of this server, reachable from there by https. Empty: it is polled." })}
      ${field("webhook_require_signature", "Refuse reports without a signature", { options: SWITCH, hint: "By default, yes." })}
      ${field("webhook_allowed_ips", "Networks that may report", { hint: "Such as 10.0.0.0/8, with commas between. Empty: all." })}
    </div></fieldset>
    <fieldset><legend>Connection</legend><div class="split">
      ${field("http_timeout", "Longest call, in seconds", { ...number, hint: "0.1 to 60." })}
      ${field("ssl_verify", "Check certificates", { options: SWITCH, hint: "By default, yes." })}
      ${field("ssl_ca_bundle", "File with authorities to trust")}
      ${field("proxy_url", "Proxy")}
    </div></fieldset>
  </div>`;
}

/** @param {{provider: any, config: any, close: () => void, done: () => void}} of */
function Form({ provider, config, close, done }) {
  const initial = formOf(config);
  const others = otherSettings(config);
  const send = async (/** @type {Record<string, any>} */ values, /** @type {Record<string, any>} */ begun) => {
    const body = settingsBody(begun, values);
    if (Object.keys(body).length === 0) return null;
    await put(path`/api/cloud/providers/${provider.id}/config`, body);
    done();
    return `The settings of ${provider.name} are changed.`;
  };
  return html`<${FormDialog} title=${`Settings of ${provider.name}`} action="Change the settings" initial=${initial} send=${send} close=${close} wide>
    ${(/** @type {any} */ form) => html`<div class="stack">
      <${Fields} form=${form} provider=${provider} />
      ${others.length > 0 &&
      html`<details><summary>Other settings that are set</summary>
        <p>They are changed over the HTTP interface.</p>
        <pre>${JSON.stringify(Object.fromEntries(others), null, 2)}</pre></details>`}
    </div>`}
  <//>`;
}

/** @param {{provider: any, close: () => void, done: () => void}} of */
export function Settings({ provider, close, done }) {
  const config = useApi(path`/api/cloud/providers/${provider.id}/config`);
  if (config.data) return html`<${Form} provider=${provider} config=${config.data.config} close=${close} done=${done} />`;
  return html`<${Dialog} title=${`Settings of ${provider.name}`} close=${close}>
    <${Loaded} of=${config} what="settings">${() => null}<//>
  <//>`;
}

/** @param {{provider: any, close: () => void, done: () => void}} of */
export function Token({ provider, close, done }) {
  const send = async (/** @type {Record<string, any>} */ { api_token }) => {
    await put(path`/api/cloud/providers/${provider.id}/token`, { api_token: api_token.trim() });
    done();
    return `The token of ${provider.name} is stored. Test the connection to see whether it is accepted.`;
  };
  return html`<${FormDialog} title=${`Store a token for ${provider.name}`} action="Store the token" initial=${{ api_token: "" }} send=${send} close=${close}>
    ${(/** @type {any} */ form) => html`<div class="stack">
      <p>It takes the place of the one of the environment at once, and is never shown again.</p>
      <${Input} form=${form} name="api_token" label="Token" type="password" required />
    </div>`}
  <//>`;
}

/** @param {any} provider @param {() => void} done */
export function askToRemoveToken(provider, done) {
  confirm({
    title: `Remove the stored token of ${provider.name}?`,
    text: "The token of the environment is used again, where there is one. Without any, nothing is submitted there, and jobs that are there are not seen.",
    action: "Remove the token",
    danger: true,
    run: async () => {
      const { token_source: source } = await del(path`/api/cloud/providers/${provider.id}/token`);
      notify(source ? "The stored token is removed. The one of the environment is used." : "The stored token is removed. There is no other.", { tone: source ? "good" : "info" });
      done();
    },
  });
}

/**
 * The form that decides whether providers are polled.
 * @param {{preference: boolean | null, close: () => void, done: () => void}} of
 */
export function Polling({ preference, close, done }) {
  const initial = { enabled: preference === null ? "" : String(preference) };
  const send = async (/** @type {Record<string, any>} */ { enabled }) => {
    await put("/api/cloud/polling/setting", { enabled: enabled === "" ? null : enabled === "true" });
    done();
    return "The polling is changed.";
  };
  /** @type {[value: string, text: string][]} */
  const options = [["", "as the configuration says"], ["true", "every provider"], ["false", "only those without a webhook, and the others slowly"]];
  return html`<${FormDialog} title="Change the polling" action="Change the polling" initial=${initial} send=${send} close=${close}>
    ${(/** @type {any} */ form) => html`<div class="stack">
      <${Input} form=${form} name="enabled" label="Which providers are polled at the interval" options=${options} />
      ${form.values.enabled === "false" && html`<${Note} tone="warn">What a webhook does not report is then seen only by the slow sweep.<//>`}
    </div>`}
  <//>`;
}
