// @ts-check
/** The limits and budgets that a job counts for. */

import { limitName } from "./format.js";
import { amount, ofWhat, perWhat } from "./spending.js";
import { Bar } from "./ui.js";
import { html } from "./vendor/htm-preact-3.1.1.js";

/**
 * Each with what is used of it.
 * @param {{limits: {limit: string, used: number, max: number}[], budgets: import("./spending.js").Quota[]}} of
 */
export function Limits({ limits, budgets }) {
  if (limits.length + budgets.length === 0) return null;
  return html`<dl class="limits">
    ${limits.map(
      ({ limit, used, max }) => html`<div key=${limit}><dt title=${limit}>${limitName(limit)}</dt>
        <dd><${Bar} used=${used} most=${max} label=${limitName(limit)} /></dd></div>`,
    )}
    ${budgets.map((budget) => {
      const name = `Budget of ${ofWhat(budget)}, ${perWhat(budget.quota_type)}`;
      const text = `${amount(budget, budget.used)} of ${amount(budget, budget.limit_value)}`;
      return html`<div key=${budget.id}><dt>${name}</dt>
        <dd><${Bar} used=${budget.used} most=${budget.limit_value} label=${name} text=${text} /></dd></div>`;
    })}
  </dl>`;
}
