// npm's `abraxas`: submitJobAt with seconds and with a Date, and submitJobSched.
const Gearman = require('abraxas')
const [host, port] = process.argv[2].split(':')
const client = Gearman.Client.connect({host, port: Number(port), defaultEncoding: 'utf8'})
setInterval(() => {}, 1000) // its sockets do not keep the program alive
const run = async () => {
  const now = Math.floor(Date.now() / 1000)
  const later = await client.submitJobAt('when', now + 3, String(now + 3))
  client.getStatus(later, async (error, status) => {
    console.log('later known', status.known, 'running', status.running)
    console.log('past', Boolean(await client.submitJobAt('when', new Date((now - 1) * 1000), String(now - 1))))
    const schedule = await client.submitJobSched('yearly', {minute: 0, hour: 0, day: 1, month: 1}, 'x')
    console.log('schedule', Boolean(schedule))
    process.exit(0)
  })
}
run()
