// npm's `gearmanode`: client and worker.
const gearmanode = require('gearmanode')
gearmanode.Client.logger.transports.forEach((transport) => { transport.silent = true })
const [host, port] = process.argv[2].split(':')
const server = {host, port: Number(port)}
const worker = gearmanode.worker(server)
worker.addFunction('node:reverse', (job) => job.workComplete(job.payload.toString().split('').reverse().join('')))
worker.addFunction('node:boom', (job) => job.reportException('boom'))
const client = gearmanode.client(server)
const run = (name, data, options) => new Promise((resolve) => {
  const job = client.submitJob(name, data, Object.assign({toStringEncoding: 'utf8'}, options))
  const seen = []
  job.on('workData', (piece) => seen.push('data ' + piece))
  job.on('warning', (text) => seen.push('warning ' + text))
  job.on('status', (status) => seen.push('status ' + status.numerator + '/' + status.denominator))
  job.on('complete', () => resolve([...seen, 'complete ' + job.response].join(', ')))
  job.on('failed', () => resolve([...seen, 'failed'].join(', ')))
  job.on('exception', (text) => resolve([...seen, 'exception ' + text].join(', ')))
  if (options && options.background) job.on('created', () => resolve('created'))
})
const all = async () => {
  for (const [name, data, options] of [
    ['node:reverse', 'abc'], ['reverse', 'abc'], ['reverse', 'hig', {priority: 'HIGH', unique: 'u-1'}],
    ['chatty', 'x'], ['fail', 'x'], ['node:boom', 'x'], ['nobody', 'x', {background: true}]
  ]) console.log(name, await run(name, data, options))
  process.exit(0)
}
all()
