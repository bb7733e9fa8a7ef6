// npm's `gearmanode`: the worker. It does not connect again by itself, but tells when it should.
const gearmanode = require('gearmanode')
gearmanode.Worker.logger.transports.forEach((transport) => { transport.silent = true })
const [host, port] = process.argv[2].split(':')
const worker = gearmanode.worker({host, port: Number(port)})
const register = () => {
  worker.addFunction('reverse', (job) => job.workComplete(job.payload.toString().split('').reverse().join('')))
  worker.addFunction('slow', (job) => setTimeout(() => job.workComplete('late'), 1000), {timeout: 300})
}
worker.on('socketDisconnect', () => setTimeout(register, 100))
worker.on('socketError', () => {})
register()
setInterval(() => {}, 1000)
