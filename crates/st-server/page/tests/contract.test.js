import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const source = new URL("../src/", import.meta.url);
const names = readdirSync(source, { recursive: true }).map(String).filter((name) => name.endsWith(".js") && !name.startsWith("vendor"));
const document = JSON.parse(readFileSync(new URL("../../../../docs/openapi.json", import.meta.url), "utf8"));
/** @param {string} path */
const shape = (path) => path.replaceAll(/\$?\{[^}]*\}/g, "{}");
const paths = new Map(Object.entries(document.paths).map(([path, operations]) => [shape(path), Object.keys(operations)]));

/** The addresses of the interface in a module, each with the function that it is given to. @param {string} name */
function used(name) {
  const text = readFileSync(new URL(name, source), "utf8");
  const found = [...text.matchAll(/(?:\b(\w+)\(\s*(?:path)?)?["`](\/api\/[^"`?]*)/g)];
  return found.map(([, call, path]) => ({ call, path: shape(path).replace(/\/$/, "") }));
}

test("each address that the page asks is one of the interface, with its method", () => {
  const methods = /** @type {Record<string, string>} */ ({ get: "get", useApi: "get", post: "post", put: "put", patch: "patch", del: "delete" });
  let compared = 0;
  for (const name of names) {
    for (const { call, path } of used(name)) {
      const operations = paths.get(path);
      assert.ok(operations, `${name} asks ${path}, which is not in the OpenAPI document`);
      const method = methods[call];
      if (method) assert.ok(operations.includes(method), `${name} asks ${path} with ${method}; it takes ${operations}`);
      compared += 1;
    }
  }
  assert.ok(compared > 20, `${compared} addresses were found`);
});

test("each module begins by asking for types, and is no longer than 500 lines", () => {
  for (const name of names.filter((name) => name !== "theme.js")) {
    const text = readFileSync(new URL(name, source), "utf8");
    assert.ok(text.startsWith("// @ts-check\n"), name);
    assert.ok(text.split("\n").length <= 500, `${name} is too long`);
  }
});

test("text that has meaning for people is read by the modules that change it as text", () => {
  for (const name of names) {
    const text = readFileSync(new URL(name, source), "utf8");
    for (const refused of ["innerHTML", "insertAdjacentHTML", "document.write", "new Function"]) {
      assert.ok(!text.includes(refused), `${name} has ${refused}`);
    }
  }
});
