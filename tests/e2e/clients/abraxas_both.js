// npm's `abraxas`: client and worker on one connection.
const Gearman = require('abraxas')
const [host, port] = process.argv[2].split(':')
const client = Gearman.Client.connect({host, port: Number(port), defaultEncoding: 'utf8'})
client.registerWorker('node:reverse', (task) => {
  task.status(0.5)
  return task.payload.split('').reverse().join('')
})
client.registerWorker('node:boom', () => { throw new Error('boom') })
const outcome = (label, promise) =>
  promise.then((value) => console.log(label, value), (error) => console.log(label, 'failed', String(error.message || error).split('\n')[0]))
const run = async () => {
  await outcome('node:reverse', client.submitJob('node:reverse', 'abc'))
  await outcome('reverse', client.submitJob('reverse', 'abc'))
  await outcome('high', client.submitJob('reverse', {priority: 'high'}, 'hig'))
  await outcome('chatty', client.submitJob('chatty', 'x'))
  await outcome('fail', client.submitJob('fail', 'x'))
  await outcome('boom', client.submitJob('boom', 'x'))
  await outcome('node:boom', client.submitJob('node:boom', 'x'))
  const handle = await client.submitJobBg('nobody', 'x')
  console.log('background', Boolean(handle))
  await outcome('echo', client.echo('x'))
  process.exit(0)
}
run()
