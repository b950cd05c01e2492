const http = require('http');

const server = http.createServer((request, response) => {
    response.setHeader('Content-Type', 'text/plain');
    response.end(`Hello from Node, process ${process.pid}\n`);
});
server.listen(process.env.PORT, process.env.HOST);
