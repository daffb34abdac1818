-- For wrk: requests that rotate through the bodies of a file, one a line, and what was found as a line of JSON.
-- Arguments after "--": the file, and how many bodies to begin after.

local requests, last = {}, 0

function init(arguments)
   local headers = { ["Content-Type"] = "application/json" }
   for body in io.lines(arguments[1]) do
      requests[#requests + 1] = wrk.format("POST", nil, headers, body)
   end
   last = tonumber(arguments[2]) % #requests
end

function request()
   last = last % #requests + 1
   return requests[last]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "max_us": %d, '
         .. '"errors": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
      errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
