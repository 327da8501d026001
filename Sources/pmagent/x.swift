import Agent
import Logging
@main struct M { static func main() throws { 
  let a = CommandLine.arguments
  let c = try Configuration.load(a[7], mustExist: true).at(a[3], a[5])
  try AgentProcess(log: Logger(label: "pmagent")) { c }.run() } }
extension Configuration { func at(_ s: String, _ d: String) -> Configuration { var c = self; c.socket = s; c.database = d; return c } }
