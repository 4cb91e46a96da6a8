// @ts-check
/** Costs: budgets, what was spent on each day, and by whom and where. */

import { withQuery } from "../api.js";
import { isOfMoney } from "../events.js";
import { count, duration, plural } from "../format.js";
import { useApi, useStore } from "../hooks.js";
import { setQuery } from "../router.js";
import { may, session, user } from "../session.js";
import { DAYS, dayRows, knownCost, largest, PERIODS, readCosts } from "../spending.js";
import { Facts, Heading, Loaded, Section, Table, Together } from "../ui.js";
import { html } from "../vendor/htm-preact-3.1.1.js";
import { Budgets } from "./budgets.js";

const REFRESH = { refreshOn: isOfMoney, atMostEvery: 10_000 };

/**
 * Choices of which one holds, as links.
 * @param {{label: string, name: string, values: (string | number)[], chosen: string | number, text: (value: any) => string}} of
 */
function Choice({ label, name, values, chosen, text }) {
  const href = (/** @type {string | number} */ value) => {
    const query = new URLSearchParams(location.search);
    query.set(name, String(value));
    return `/costs?${query}`;
  };
  return html`<nav aria-label=${label} class="plain"><ul class="chips">
    ${values.map((value) => html`<li key=${value}><a href=${href(value)} aria-current=${value === chosen ? "true" : undefined}>${text(value)}</a></li>`)}
  </ul></nav>`;
}

/** @param {{part: number}} of */
function Length({ part }) {
  // The number beside it says the same.
  return html`<div class="track" aria-hidden="true"><div style=${{ width: `${part}%` }}></div></div>`;
}

/** @param {{metrics: any}} of */
function Days({ metrics }) {
  /** @type {import("../ui.js").Column<any>[]} */
  const columns = [
    { key: "date", label: "Day (UTC)", kind: "tight", cell: (day) => html`<span class="number">${day.date}</span>` },
    { key: "jobs", label: "Jobs that ended", kind: "number", cell: (day) => count(day.jobs) },
    { key: "cost", label: "Known cost", kind: "number", cell: (day) => knownCost(day.cost, day.jobs) },
    { key: "bar", label: html`<span class="hidden">Compared with the dearest day</span>`, kind: "text", cell: (day) => html`<${Length} part=${day.part} />` },
  ];
  return html`<${Table} caption="What jobs cost on each day, the newest first" columns=${columns} rows=${dayRows(metrics.cost_by_day)} rowKey=${(/** @type {any} */ day) => day.date} />`;
}

/** @param {{metrics: any}} of */
function Sums({ metrics }) {
  return html`<${Facts} items=${[
    ["Known cost", html`<span class="figure number">${knownCost(metrics.total_cost, metrics.job_count)}</span>`],
    ["Jobs that ended", html`<span class="figure number">${count(metrics.job_count)}</span>`],
    ["Average run of those that completed", html`<span class="figure number">${duration(metrics.avg_job_duration_seconds)}</span>`],
  ]} />`;
}

/** @param {{title: string, id: string, sums: Record<string, number>, hours?: Record<string, number>, link?: (name: string) => string}} of */
function By({ title, id, sums, hours, link }) {
  const { rows, more } = largest(sums);
  /** @type {import("../ui.js").Column<{name: string, sum: number}>[]} */
  const columns = [
    { key: "name", label: title, cell: ({ name }) => (link ? html`<a href=${link(name)}>${name}</a>` : name) },
    { key: "cost", label: "Known cost", kind: "number", cell: ({ sum }) => knownCost(sum) },
  ];
  if (hours) columns.push({ key: "hours", label: "Machine time", kind: "number", cell: ({ name }) => duration((hours[name] ?? 0) * 3600) });
  return html`<div class="stack tightly">
    <h3 id=${id}>By ${title.toLowerCase()}</h3>
    <${Table} caption=${`Costs by ${title.toLowerCase()}, the largest first`} columns=${columns} rows=${rows} rowKey=${(/** @type {any} */ row) => row.name}
      empty="No job ended in this period." />
    ${more > 0 && html`<p class="faint">and ${plural(more, "other")} that cost less</p>`}
  </div>`;
}

/** @param {{period: string, costs: import("../hooks.js").Loaded<any>, usage: import("../hooks.js").Loaded<any>}} of */
function ByOwner({ period, costs, usage }) {
  return html`<${Section} title="By provider and user" id="who">
    <${Choice} label="Period" name="period" values=${PERIODS} chosen=${period} text=${(/** @type {string} */ value) => `Last ${value}`} />
    <${Loaded} of=${costs} what="costs">
      ${(/** @type {any} */ data) => html`<div class="split">
        <${By} title="Provider" id="by-provider" sums=${data.by_provider} hours=${usage.data?.gpu.by_type} link=${(/** @type {string} */ provider) => withQuery("/", { provider })} />
        <${By} title="User" id="by-user" sums=${data.by_user} link=${(/** @type {string} */ name) => withQuery("/", { user: name })} />
      </div>`}
    <//>
  <//>`;
}

/** @param {{provider: string | null}} of */
function ProviderFilter({ provider }) {
  const { data } = useApi("/api/cloud/providers");
  const names = new Set((data?.providers ?? []).map((/** @type {any} */ it) => it.id));
  if (provider) names.add(provider);
  return html`<div class="field inline">
    <label for="provider">Provider</label>
    <select id="provider" value=${provider ?? ""} onChange=${(/** @type {any} */ event) => setQuery({ provider: event.target.value })}>
      <option value="">all</option>
      ${[...names].map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
    </select>
  </div>`;
}

/** @param {{query: URLSearchParams}} of */
function Costs({ query }) {
  const who = user(useStore(session));
  const { days, period, provider } = readCosts(query);
  const quotas = useApi("/api/quotas", REFRESH);
  const metrics = useApi(withQuery("/api/cloud/metrics", { days, provider }), REFRESH);
  const costs = useApi(withQuery("/api/metrics/costs", { period }), REFRESH);
  const usage = useApi(withQuery("/api/metrics/usage", { period }), REFRESH);
  return html`<div class="screen">
    <${Heading}>Costs<//>
    <p class="faint">In US dollars. A cost is known where the provider reports it or its price is configured. Jobs whose cost is not known are not in the sums.</p>
    <${Together} of=${[quotas, metrics, costs, usage]} what="costs">
      ${() => html`<div class="screen">
        <${Budgets} quotas=${quotas} isAdmin=${may(who, "admin")} />
        <${Section} title="By day" id="days">
          <div class="toolbar">
            <${Choice} label="Days" name="days" values=${DAYS} chosen=${days} text=${(/** @type {number} */ value) => `${value} days`} />
            <${ProviderFilter} provider=${provider} />
          </div>
          <${Loaded} of=${metrics} what="costs by day">
            ${(/** @type {any} */ data) => html`<div class="stack"><${Sums} metrics=${data} /><${Days} metrics=${data} /></div>`}
          <//>
        <//>
        <${ByOwner} period=${period} costs=${costs} usage=${usage} />
      </div>`}
    <//>
  </div>`;
}

export { Costs as component };
