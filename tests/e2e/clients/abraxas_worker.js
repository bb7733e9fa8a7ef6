// npm's `abraxas`: the worker. It connects again by itself.
const Gearman = require('abraxas')
const [host, port] = process.argv[2].split(':')
const client = Gearman.Client.connect({host, port: Number(port), defaultEncoding: 'utf8'})
client.on('connection-error', () => {})
client.registerWorker('reverse', (task) => task.payload.split('').reverse().join(''))
client.registerWorker('slow', {timeout: 300}, () => new Promise((resolve) => setTimeout(() => resolve('late'), 1000)))
