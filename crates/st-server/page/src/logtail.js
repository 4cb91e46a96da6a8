// @ts-check
/** The lines of a log that a window keeps and shows. Without the DOM. */

/** So many lines are shown: more make a window slow. */
export const SHOWN = 1_000;
/** So many lines are kept, for searching. */
export const KEPT = 200_000;

/**
 * The lines of a text; what ends it is no line of its own.
 * @param {string} text
 */
export function linesOf(text) {
  const lines = text.split(/\r\n|\n|\r/);
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

export class LogTail {
  constructor(kept = KEPT) {
    this.kept = kept;
    /** @type {string[]} */
    this.lines = [];
    /** How many lines were printed, also those that are not kept. */
    this.total = 0;
  }

  clear() {
    this.lines = [];
    this.total = 0;
  }

  /** @param {string[]} lines */
  add(lines) {
    for (const line of lines) this.lines.push(line);
    this.total += lines.length;
    // Half as many again before it is cut, so that not every line moves all others.
    if (this.lines.length > this.kept * 1.5) this.lines = this.lines.slice(-this.kept);
  }

  /**
   * The last lines that have a text in them, whatever its case.
   * @param {string} [search]
   * @param {number} [most]
   * @returns {{text: string, shown: number, found: number}} `found`: how many there are in all.
   */
  view(search = "", most = SHOWN) {
    const wanted = search.toLowerCase();
    const found = wanted === "" ? this.lines : this.lines.filter((line) => line.toLowerCase().includes(wanted));
    const shown = found.slice(-most);
    return { text: shown.join("\n"), shown: shown.length, found: wanted === "" ? this.total : found.length };
  }
}
