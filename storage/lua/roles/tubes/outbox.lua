-- The outbox: numbered lines that this queue owes the store. Written with the settlement, copied in order.

local clock = require('clock')
local fiber = require('fiber')
local state = require('roles.tubes.state')

local outbox = {}

local committed = 0 -- the last line that is on disk; a rollback could still remove later ones
local grown = fiber.cond()

local LINGER = 0.04 -- seconds that the first line waits for others: a report costs the same for one and for a hundred

function outbox.start()
    local last = box.space.tubes_outbox.index.number:max()
    committed = last and last.number or 0
end

-- Inside the caller's transaction.
function outbox.append(line)
    local number = state.draw('line')
    box.space.tubes_outbox:insert({number, line, math.floor(clock.time() * 1000)})
    box.on_commit(function()
        committed = math.max(committed, number)
        grown:broadcast()
    end)
end

-- Seconds for which the store has been owed the oldest line; 0 if it is owed none.
function outbox.age()
    local first = box.space.tubes_outbox.index.number:min()
    return first ~= nil and math.max(0, clock.time() - tonumber(first.written_at) / 1000) or 0
end

local function collect(limit)
    local lines = {}
    for _, row in box.space.tubes_outbox:pairs() do
        if row.number > committed or #lines >= limit then
            break
        end
        local line = row.line
        line.at = row.written_at -- when it was settled: the store may get it much later
        table.insert(lines, {row.number, line})
    end
    return lines
end

-- Delete the lines that the ledger has: up to and including `upto`. In another epoch the numbers mean other lines.
local function trim(epoch, upto)
    if state.get('epoch') ~= epoch then
        return
    end
    local numbers = {}
    for _, row in box.space.tubes_outbox:pairs() do
        if row.number > upto then
            break
        end
        table.insert(numbers, row.number)
    end
    if #numbers > 0 then
        box.begin()
        for _, number in ipairs(numbers) do
            box.space.tubes_outbox:delete(number)
        end
        box.commit()
    end
end

-- The epoch and up to `limit` lines of it, soon after there is one; none after `timeout` seconds. In a separate call
-- the epoch could be a later one, and the ledger would take old lines' numbers for the new epoch's. `known`, `upto`: an
-- epoch and the last of its lines that the ledger has; these lines are deleted first.
function outbox.read(limit, known, upto, timeout)
    trim(known, upto)
    local deadline = fiber.clock() + timeout
    local lines = collect(limit)
    while #lines == 0 and fiber.clock() < deadline do
        grown:wait(deadline - fiber.clock())
        fiber.sleep(math.min(LINGER, math.max(0, deadline - fiber.clock())))
        lines = collect(limit)
    end
    return state.get('epoch'), lines
end

return outbox
