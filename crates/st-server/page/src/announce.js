// @ts-check
/** What is said to people who do not see the page change: politely, and at most once in five seconds. */

const GAP = 5_000;
/** So many messages are said at once; of more, the last. */
const MOST = 3;

export class Announcer {
  /**
   * @param {object} of
   * @param {(text: string) => void} of.say
   * @param {() => number} [of.now]
   * @param {(run: () => void, delay: number) => any} [of.setTimer]
   */
  constructor({ say, now = () => Date.now(), setTimer = (run, delay) => setTimeout(run, delay) }) {
    this.say = say;
    this.now = now;
    this.setTimer = setTimer;
    /** @type {string[]} */
    this.waiting = [];
    this.saidAt = Number.NEGATIVE_INFINITY;
    this.planned = false;
  }

  /** @param {string} text */
  announce(text) {
    if (this.waiting.at(-1) !== text) this.waiting.push(text);
    if (this.planned) return;
    const wait = this.saidAt + GAP - this.now();
    if (wait <= 0) {
      this.flush();
    } else {
      this.planned = true;
      this.setTimer(() => this.flush(), wait);
    }
  }

  flush() {
    this.planned = false;
    this.saidAt = this.now();
    const text = this.waiting.slice(-MOST).join(" ");
    this.waiting = [];
    this.say(text);
  }
}

const announcer = new Announcer({
  say: (text) => {
    const region = document.getElementById("polite");
    if (region) region.textContent = text;
  },
});

/**
 * Says a change to assistive technology.
 * @param {string} text A sentence.
 */
export const announce = (text) => announcer.announce(text);
