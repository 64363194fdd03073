// A program that somebody writes against /openapi.json: `paths` is what openapi-typescript made of it. It is checked by
// the compiler and run against a node; any failure ends it with status 1.
import createClient from "openapi-fetch";
import type { components, paths } from "./koan.ts";

type Customer = components["schemas"]["Customer"];

const koan = createClient<paths>({ baseUrl: process.argv[2], headers: { Authorization: "Bearer " + process.argv[3] } });

function check(ok: unknown, what: string): asserts ok {
  if (!ok) throw new Error(what);
}

const made = await koan.POST("/api/customer", {
  body: { name: "Ana", tier: "pro", at: { lat: 52.5, lon: 13.4 }, tags: ["a", "b"], price: "12.50" },
});
check(made.data, "created: " + JSON.stringify(made.error));
const ana: Customer = made.data;
check(ana.version === 1 && ana.name === "Ana" && ana.at?.lat === 52.5 && ana.price === "12.5", JSON.stringify(ana));
check(made.response.headers.get("X-Koan-Outcome") === "created", "outcome");

const got = await koan.GET("/api/customer/{id}", { params: { path: { id: ana.id } } });
check(got.data?.email === undefined && got.data?.tier === "pro", "read");
const etag = got.response.headers.get("ETag");
check(etag === '"1"', "etag");

const patched = await koan.PATCH("/api/customer/{id}", {
  params: { path: { id: ana.id }, header: { "If-Match": etag } },
  body: { total: 7, tags: null },
});
check(patched.data?.version === 2 && patched.data.total === 7 && patched.data.tags === undefined, "patched");

const late = await koan.PATCH("/api/customer/{id}", {
  params: { path: { id: ana.id }, header: { "If-Match": etag } },
  body: { total: 8 },
});
check(late.error?.code === "version_mismatch" && late.error.retry === "reread", "conflict: " + JSON.stringify(late));

const many = await koan.POST("/api/customer/bulk", {
  body: Array.from({ length: 5 }, (_, i) => ({ id: "c" + i, name: "Bo", total: i })),
});
check(many.data?.counts.created === 5, "bulk: " + JSON.stringify(many.error));

const filter: components["schemas"]["Customer.Filter"] = { total: { $gte: 2 }, $or: [{ name: "B*" }, { tier: null }] };
const found = await koan.POST("/api/customer/query", { body: { filter, sort: "-total", pageSize: 2 } });
check(found.data?.map((c) => c.total).join() === "4,3", "query: " + JSON.stringify(found.error));
check(found.response.headers.get("X-Total-Count") === "3", "count");

const listed = await koan.GET("/api/customer", {
  params: { query: { q: "an", fields: "name", filter: JSON.stringify({ tier: "pro" }) } },
});
check(listed.data?.length === 1, "list: " + JSON.stringify(listed.error));

const wrong = await koan.GET("/api/customer", { params: { query: { sort: "nmae" } } });
check(wrong.error?.code === "invalid" && wrong.error.detail.includes("name"), "refusal");

const line = await koan.PUT("/api/order-line/{id}", { params: { path: { id: "1" } }, body: { order: ana.id, sku: "x" } });
check(line.response.status === 201 && line.data?.order === ana.id, "reference: " + JSON.stringify(line.error));

const versions = await koan.GET("/api/customer/{id}/history", { params: { path: { id: ana.id } } });
check(versions.response.status === 200, "history: " + JSON.stringify(versions.error));

const gone = await koan.DELETE("/api/customer/{id}", { params: { path: { id: "c0" } } });
check(gone.response.status === 204, "removed");
const back = await koan.POST("/api/customer/{id}/restore", { params: { path: { id: "c0" } } });
check(back.response.ok, "restored: " + JSON.stringify(back.error));

const arrived = await koan.POST("/api/canon/{model}", {
  params: { path: { model: "Golden" }, header: { "X-Canon-Origin": "erp" }, query: { source_id: "7" } },
  body: { name: "Acme" },
});
check(arrived.data?.outcome === "canonized", "canon: " + JSON.stringify(arrived));
const models = await koan.GET("/api/canon/models");
check(models.data?.includes("Golden"), "models");

// @ts-expect-error a choice that is not declared does not compile
await koan.POST("/api/customer", { body: { name: "x", tier: "gold" } });
// @ts-expect-error nor does a record without what is required
await koan.POST("/api/customer", { body: {} });

console.log("all right");
