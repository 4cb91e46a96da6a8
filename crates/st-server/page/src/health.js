// @ts-check
/** The state of the server: its tasks, its store, its log. Pure functions. */

import { duration } from "./format.js";
import { quantile, sum, value } from "./prometheus.js";

/** What of the metrics is about the server itself. */
export const FAMILIES = [
  "st_store_",
  "st_state_dir_",
  "st_event_streams",
  "st_http_requests_in_flight",
  "st_http_requests_limit",
  "st_http_requests_shed_total",
  "st_http_connections",
  "st_log_lines_dropped_total",
  "st_damaged_jobs",
  "st_task_lag_seconds",
  "st_task_runs_total",
  "process_",
];

/** The levels of the log, the one that says most first. */
export const LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];

/** What the background tasks are called for people. @type {Record<string, string>} */
const TASKS = {
  job_status_polling: "Asks providers about jobs",
  queue_processing: "Starts jobs",
  approval_expiration: "Ends approvals that nobody decided",
  job_retention: "Deletes old jobs",
  result_fetching: "Fetches results",
  webhook_delivery: "Sends webhooks",
};

/** @param {string} name */
export const taskText = (name) => TASKS[name] ?? "";

/**
 * For how long a task has not ended well beyond what its period allows, in seconds; 0 where it is on time.
 * A run may take as long as a period before it counts as late.
 * @param {{period_seconds: number, last_success_at: string | null, current_run: {started_at: string} | null, next_run_at?: string | null}} task
 * @param {number} now In milliseconds.
 */
export function lag({ period_seconds, last_success_at, next_run_at }, now) {
  const due = next_run_at ? Date.parse(next_run_at) : last_success_at === null ? null : Date.parse(last_success_at) + period_seconds * 1000;
  // Until the next look of the page some seconds pass, in which the task may have run.
  const late = due === null ? 0 : (now - due) / 1000 - 10;
  return Math.max(0, late);
}

/**
 * The state of a task in a word of the statuses, and what is shown.
 * @param {Parameters<typeof lag>[0] & {last_run: {error: string | null} | null}} task
 * @param {number} now In milliseconds.
 * @returns {{status: string, label: string}}
 */
export function taskState(task, now) {
  if (task.current_run) return { status: "running", label: "runs now" };
  if (task.last_run?.error) return { status: "failed", label: "failed last" };
  if (lag(task, now) > 0) return { status: "degraded", label: "late" };
  if (!task.last_run) return { status: "pending", label: "did not run yet" };
  return { status: "healthy", label: "on time" };
}

/**
 * A period in the unit in which the next run is said.
 * @param {number} seconds
 */
export function periodText(seconds) {
  const hours = seconds / 3600;
  return hours >= 1 && hours <= 48 && Number.isInteger(hours) ? `${hours} h` : duration(seconds);
}

/**
 * What a run did, in words: what was nothing is left out.
 * @param {Record<string, number>} counts
 */
export function did(counts) {
  const parts = Object.entries(counts).filter(([, number]) => number > 0);
  return parts.length === 0 ? "nothing to do" : parts.map(([name, number]) => `${number} ${name.replaceAll("_", " ")}`).join(", ");
}

/**
 * The figures of the store and of the process.
 * @param {import("./prometheus.js").Sample[]} all
 */
export function figures(all) {
  const free = value(all, "st_state_dir_free_bytes");
  const size = value(all, "st_state_dir_size_bytes");
  return {
    isWritable: value(all, "st_store_writable") === 1,
    isReadable: value(all, "st_store_readable") === 1,
    isSound: value(all, "st_store_sound") === 1,
    waiting: sum(all, "st_store_writes_waiting"),
    commits: value(all, "st_store_commit_seconds_count"),
    commitMost: quantile(all, "st_store_commit_seconds", 0.99),
    waitMost: quantile(all, "st_store_write_wait_seconds", 0.99),
    database: sum(all, "st_store_file_bytes"),
    free,
    freePart: free === null || !size ? null : free / size,
    damaged: value(all, "st_damaged_jobs"),
    streams: value(all, "st_event_streams"),
    streamsMost: value(all, "st_event_streams_limit"),
    connections: sum(all, "st_http_connections"),
    connectionsMost: value(all, "st_http_connections_limit"),
    inFlight: sum(all, "st_http_requests_in_flight"),
    shed: sum(all, "st_http_requests_shed_total"),
    dropped: value(all, "st_log_lines_dropped_total"),
    memory: value(all, "process_resident_memory_bytes"),
    files: value(all, "process_open_fds"),
    filesMost: value(all, "process_max_fds"),
    cpuSeconds: value(all, "process_cpu_seconds_total"),
  };
}

/**
 * A level of the log in its parts: the general one, and those of single loggers.
 * @param {string} level Such as `INFO,simpletuner.cloud.queue=DEBUG`.
 */
export function levelParts(level) {
  const parts = level.split(",").map((part) => part.trim()).filter(Boolean);
  const general = parts.find((part) => !part.includes("=")) ?? "INFO";
  return { general, loggers: parts.filter((part) => part.includes("=")).join(", ") };
}

/**
 * The level that a form sends.
 * @param {string} general
 * @param {string} loggers
 */
export function levelText(general, loggers) {
  return [general, ...loggers.split(/[\s,]+/)].filter(Boolean).join(",");
}
