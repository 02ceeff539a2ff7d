const http = require("http");
const { version } = require("../package.json");
http.createServer((request, response) => response.end(`shop ${version}\n`)).listen(3000);
