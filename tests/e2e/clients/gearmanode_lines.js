// npm's `gearmanode`, the client: has each line reversed, and tries again while the server is away.
const gearmanode = require('gearmanode')
gearmanode.Client.logger.transports.forEach((transport) => { transport.silent = true })
const [host, port] = process.argv[2].split(':')
const client = gearmanode.client({host, port: Number(port), recoverTime: 100})
client.on('socketError', () => {})
client.on('error', () => {})
const submit = (line) => new Promise((resolve, reject) => {
  const job = client.submitJob('reverse', line, {toStringEncoding: 'utf8'})
  if (job instanceof Error || !job) return reject(job)
  job.on('complete', () => resolve(job.response))
  job.on('failed', reject)
  job.on('error', reject)
  job.on('close', reject)
})
const reversed = async (line) => {
  for (let attempt = 0; attempt < 100; attempt++) {
    try {
      return await submit(line)
    } catch (error) {
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}
const run = async () => {
  for await (const line of require('readline').createInterface({input: process.stdin})) {
    console.log(await reversed(line))
  }
  process.exit(0)
}
run()
