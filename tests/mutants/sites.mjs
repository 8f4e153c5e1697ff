// Where JavaScript can be mutated: `node sites.mjs FILE…` prints {file: [[start, end, [other
// text, …]], …]}, in UTF-16 units. Texts of strings, templates and comments are left alone.
import { readFileSync } from "node:fs";
import { parse } from "acorn";
import { ancestor } from "acorn-walk";

const SWAPS = {
  "<": "<=", "<=": "<", ">": ">=", ">=": ">", "===": "!==", "!==": "===", "==": "!=", "!=": "==",
  "+": "-", "-": "+", "*": "/", "/": "*", "%": "*", "**": "*", "<<": ">>", ">>": "<<", ">>>": ">>",
  "&": "|", "|": "&", "^": "&", "&&": "||", "||": "&&", "+=": "-=", "-=": "+=", "*=": "/=", "/=": "*=",
};
// AssemblyScript's types and decorators, to be read as blanks
const TYPES = /@inline|<\w+>(?=[(\w])|:\s*(usize|[iu](8|16|32|64)|f64|v128|void|bool)\b/g;

const blank = (text) => text.replace(/\S/g, " ");
const isText = (node) => node.type === "TemplateLiteral" || typeof node.value === "string"
  || (node.type === "BinaryExpression" && node.operator === "+" && (isText(node.left) || isText(node.right)));
const decided = (test) =>
  test.type === "LogicalExpression" || test.operator === "!" || test.operator in SWAPS;

function constants(value) {
  if (value === 0) return ["1"];
  if (value === 1) return ["0", "2"];
  return Number.isInteger(value) ? [value + 1, value - 1].map(String) : [`${2 * value}`, `(-${value})`];
}

function sitesOf(file) {
  const source = readFileSync(file, "utf8");
  const code = file.endsWith(".ts") ? source.replace(TYPES, blank) : source;
  const tree = parse(code, { ecmaVersion: "latest", sourceType: "module" });
  const sites = [];
  const put = ({ start, end }, ...others) => sites.push([start, end, others]);
  const operator = ({ left, right, operator: sign }) => {
    if (!(sign in SWAPS)) return;
    const between = code.slice(left.end, right.start).replace(/\/\*.*?\*\/|\/\/.*/g, blank);
    const start = left.end + between.indexOf(sign);
    put({ start, end: start + sign.length }, SWAPS[sign]);
  };
  const negate = ({ test }) => {
    if (test && !decided(test)) put(test, `!(${source.slice(test.start, test.end)})`);
  };
  // A node's `keyword` arguments, dropped with the comma after or before them
  const drop = (properties) => properties.forEach((one, i) => {
    const [next, before] = [properties[i + 1], properties[i - 1]];
    if (one.type !== "Property") return;
    put({ start: next || !before ? one.start : before.end, end: next ? next.start : one.end }, "");
  });
  const keywords = ({ arguments: given }) => given.forEach((one) => {
    if (one.type === "ObjectExpression") drop(one.properties);
  });
  ancestor(tree, {
    BinaryExpression: (node) => (node.operator === "+" && isText(node) ? null : operator(node)),
    LogicalExpression(node) {
      if (node.operator === "??") put({ start: node.left.end, end: node.end }, "");
      else operator(node);
    },
    AssignmentExpression: operator,
    UnaryExpression(node) {
      if ("!-".includes(node.operator)) put(node, source.slice(node.argument.start, node.argument.end));
    },
    Literal(node, _, ancestors) {
      const { value } = node, parent = ancestors.at(-2);
      if (parent?.type === "Property" && parent.key === node) return;
      if (typeof value === "number") put(node, ...constants(value));
      if (typeof value === "boolean") put(node, String(!value));
    },
    ExpressionStatement(node) {
      if (!node.directive) put(node, ";");
    },
    ContinueStatement: (node) => put(node, ";"),
    ThrowStatement: (node) => put(node, ";"),
    ReturnStatement: ({ argument }) => argument && put(argument, "undefined"),
    ArrowFunctionExpression: ({ expression, body }) => expression && put(body, "undefined"),
    IfStatement: negate, ConditionalExpression: negate, WhileStatement: negate,
    CallExpression: keywords, NewExpression: keywords,
  });
  return sites;
}

console.log(JSON.stringify(Object.fromEntries(process.argv.slice(2).map((f) => [f, sitesOf(f)]))));
