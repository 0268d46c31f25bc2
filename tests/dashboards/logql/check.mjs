// Reads a JSON list of LogQL queries from standard input, writes one list of problems for each.
import { parser } from "@grafana/lezer-logql";

let text = "";
for await (const part of process.stdin) text += part;

const problems = JSON.parse(text).map((query) => {
  const found = [];
  parser.parse(query).iterate({
    enter(node) {
      if (node.type.isError) {
        found.push(`not LogQL at ${node.from}: ${query.slice(Math.max(0, node.from - 20), node.to + 20)}`);
      }
    },
  });
  return found;
});
process.stdout.write(JSON.stringify(problems));
