-- Sends callbacks of a stream file, each once, in the file's order, for so many seconds. Then each connection rests, and when the
-- last of them does, nothing that was sent waits for its answer any more: "rested" is printed, for whoever then interrupts wrk.
--
-- Environment: STREAM (the file: signature, tab, body on a line), OFFSET (bytes to be skipped), SECONDS, CONNECTIONS, CONNECTION
-- (keep-alive or close), URLPATH, APP, RATE (a second; empty: as fast as they are answered).
--
-- There is no response(): it would make wrk hand over each answer to Lua. That a connection asks for a request says that the one
-- before was answered.
local ffi = require("ffi")
ffi.cdef("struct moment { long s; long ns; }; int clock_gettime(int, struct moment *);")

local face = ffi.new("struct moment")
local MONOTONIC = 1
local stream, head, first_line
local seconds, connections = tonumber(os.getenv("SECONDS")), tonumber(os.getenv("CONNECTIONS"))
local began, resting, probed = nil, 0, false
-- done() reads these from the thread.
sent, elapsed = 0, 0

local function now()
  ffi.C.clock_gettime(MONOTONIC, face)
  return tonumber(face.s) + tonumber(face.ns) * 1e-9
end

function init()
  stream = assert(io.open(os.getenv("STREAM"), "rb"))
  stream:seek("set", tonumber(os.getenv("OFFSET")))
  first_line = stream:read("*l")
  head = "POST " .. os.getenv("URLPATH") .. " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port ..
    "\r\nUser-Agent: wrk\r\nContent-Type: application/json\r\nConnection: " .. os.getenv("CONNECTION") ..
    "\r\nSdkAppId: " .. os.getenv("APP") .. "\r\nSign: "
end

local function written(line)
  local tab = line:find("\t", 1, true)
  return head .. line:sub(1, tab - 1) .. "\r\nContent-Length: " .. (#line - tab) .. "\r\n\r\n" .. line:sub(tab + 1)
end

local function next_line()
  if now() - began >= seconds then return nil end
  local line = first_line or stream:read("*l")
  first_line = nil
  return line
end

function request()
  if not probed then -- wrk asks once to see what a request looks like, and does not send that one
    probed = true
    return written(first_line)
  end
  began = began or now()
  local line = resting == 0 and next_line()
  if line then
    sent = sent + 1
    return written(line)
  end
  resting = resting + 1
  elapsed = now() - began
  if resting == connections then
    io.write("rested\n")
    io.flush()
  end
  return "" -- nothing is written, and so nothing comes back
end

if (os.getenv("RATE") or "") ~= "" then
  local every, due = 1 / tonumber(os.getenv("RATE")), nil
  -- Every connection takes the next free place in time; when all are late, the places pass unused.
  function delay()
    local at = now()
    due = math.max(due and due + every or at, at - 1)
    return math.max(0, math.floor((due - at) * 1000 + 0.5))
  end
end

local threads = {}
function setup(thread) threads[#threads + 1] = thread end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"sent":%d,"answered":%d,"refused":%d,"errors":%d,"elapsed_s":%.4f,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    threads[1]:get("sent"), summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    threads[1]:get("elapsed"), latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
