-- What `queue.statistics` shows. Calls are counted in memory: they start at zero with the process, and a call within
-- a transaction that is rolled back stays counted. Tasks are counted in the space, so they are always right.

local statistics = {}

local CALLS = {'ack', 'bury', 'delay', 'delete', 'kick', 'put', 'release', 'take', 'touch', 'ttl', 'ttr'}
local STATES = {ready = 'r', taken = 't', buried = '!', delayed = '~'}

local counters = {}
counters.__index = counters

function statistics.counters()
    local calls = {}
    for _, call in ipairs(CALLS) do
        calls[call] = 0
    end
    return setmetatable({calls = calls, done = 0}, counters)
end

function counters:add(event)
    self.calls[event] = (self.calls[event] or 0) + 1
    if event == 'delete' then
        self.done = self.done + 1   -- an ack arrives as a delete
    end
end

--- {tasks = {...}, calls = {...}} of one tube.
function statistics.of(tube)
    local space = box.space[tube.name]
    local tasks = {total = space:len(), done = tube.counters.done}
    for name, state in pairs(STATES) do
        tasks[name] = space.index.status and space.index.status:count{state} or 0
    end
    return {tasks = tasks, calls = table.copy(tube.counters.calls)}
end

return statistics
