import Agent
import Logging
@main struct M { static func main() throws { 
  var c = Configuration(); c.socket = CommandLine.arguments[1]; c.database = CommandLine.arguments[2]
  let f = c
  try AgentProcess(log: Logger(label: "pmagent")) { f }.run() } }
