// "Compiles": strips comments, and writes an index of what there is.
const fs = require("fs");
fs.mkdirSync("dist");
const files = fs.readdirSync("src").sort();
for (const file of files)
  fs.writeFileSync(`dist/${file}`, fs.readFileSync(`src/${file}`, "utf8").replace(/^\/\/.*\n/gm, ""));
fs.writeFileSync("dist/index.json", JSON.stringify(files));
