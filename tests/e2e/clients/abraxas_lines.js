// npm's `abraxas`, the client: has each line reversed, and tries again while the server is away.
const Gearman = require('abraxas')
const [host, port] = process.argv[2].split(':')
const client = Gearman.Client.connect({host, port: Number(port), defaultEncoding: 'utf8'})
setInterval(() => {}, 1000) // its sockets do not keep the program alive
client.on('connection-error', () => {})
const reversed = async (line) => {
  for (let attempt = 0; attempt < 100; attempt++) {
    try {
      return await client.submitJob('reverse', line)
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
