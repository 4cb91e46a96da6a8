// @ts-check
/** Signing in: one key, typed once, for a session of this browser. */

import { signIn } from "../api.js";
import { useStore } from "../hooks.js";
import { navigate } from "../router.js";
import { session, user } from "../session.js";
import { ErrorBox, Field, Heading, Note } from "../ui.js";
import { html, useEffect, useRef, useState } from "../vendor/htm-preact-3.1.1.js";

/**
 * The form. It stands in the place of a screen that needs a session, and after signing in the screen is there.
 * @param {{ended?: boolean, done?: () => void}} of
 */
export function SignIn({ ended = false, done = () => {} }) {
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const [busy, setBusy] = useState(false);
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  useEffect(() => field.current?.focus(), []);
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const key = field.current?.value.trim() ?? "";
    if (busy || key === "") return;
    setBusy(true);
    setError(null);
    try {
      await signIn(key);
      done();
    } catch (failure) {
      setError(wrongKey(failure));
      setBusy(false);
      field.current?.select();
    }
  };
  return html`<div class="narrow">
    <${Heading}>Sign in<//>
    ${ended && html`<${Note} tone="warn">Your session has ended. Sign in again, and the screen is as you left it.<//>`}
    <form onSubmit=${submit} class="stack">
      <${Field} id="key" label="Key" hint="A key begins with st_. It is not stored in this browser: it opens a session,
        which lasts 12 hours or until the server restarts.">
        <input id="key" ref=${field} type="password" autocomplete="current-password" spellcheck=${false}
          autocapitalize="off" required aria-describedby="key-hint" />
      <//>
      <${ErrorBox} error=${error} title="You are not signed in" />
      <div class="actions"><button type="submit" class="main" aria-busy=${busy ? "true" : undefined}>Sign in</button></div>
    </form>
    <details>
      <summary>Where do I get a key?</summary>
      <p>An administrator makes one on the Keys screen, or on the machine of the server:</p>
      <pre>st-server keys create --name laptop --user ann --role researcher</pre>
    </details>
  </div>`;
}

/** The answer about a key is written for programs, which send it with each request. @param {any} failure */
function wrongKey(failure) {
  if (failure.status !== 401) return failure;
  const detail = "This key is not valid: it may be mistyped, expired or revoked.";
  return { detail, correlationId: failure.correlationId };
}

/** The screen of its own address. */
export function Screen() {
  const now = useStore(session);
  const who = user(now);
  if (now.state === "open") {
    return html`<div class="screen"><${Heading}>Sign in<//>
      <p>No key was made yet, so that nobody needs to sign in. <a href="/">Go to the jobs.</a></p></div>`;
  }
  if (who) {
    return html`<div class="screen"><${Heading}>Sign in<//>
      <p>You are signed in as ${who.id} with the role ${who.role}. <a href="/">Go to the jobs.</a></p></div>`;
  }
  return html`<${SignIn} done=${() => navigate("/", { replace: true })} />`;
}
