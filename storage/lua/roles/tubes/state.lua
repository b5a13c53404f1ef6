-- The state of a node's queue: its epoch, its lease, its numbers that never repeat, its marks.

local clock = require('roles.clock')
local fiber = require('fiber')
local atomic = require('roles.atomic')

local state = {}

-- Seconds on the clock of leases. Not stored: a restarted queue has no lease until it is renewed.
local lease_until = 0
local lease_changed = fiber.cond()
local closed = false -- whether this instance is about to end

function state.get(key)
    local row = box.space.tubes_state:get(key)
    return row and row.value or 0
end

function state.set(key, value)
    box.space.tubes_state:replace({key, value})
end

-- Draw a number that this queue never gives twice.
function state.draw(key)
    local n = state.get(key) + 1
    state.set(key, n)
    return n
end

function state.leased()
    return not closed and clock.now() < lease_until
end

-- This instance is about to end: from now on nothing is taken or put; taken batches are still settled.
function state.close()
    closed = true
end

-- Wait until the lease holds, at most `timeout` seconds.
function state.wait_leased(timeout)
    local deadline = fiber.clock() + timeout
    while not state.leased() do
        local left = deadline - fiber.clock()
        if left <= 0 or not lease_changed:wait(left) then
            return state.leased()
        end
    end
    return true
end

-- The store lets `epoch` go on for `seconds` from `asked` (this instance's clock.now before the store was asked, so
-- that a delayed call cannot make the lease longer than the store thinks). Refuses another epoch, and an `asked` in the
-- future: the clock has started again since.
function state.renew(epoch, seconds, asked)
    if state.get('epoch') ~= epoch or asked > clock.now() then
        return false
    end
    lease_until = asked + seconds
    lease_changed:broadcast()
    return true
end

-- No lease until it is renewed.
function state.end_lease()
    lease_until = 0
end

-- The instance's uuid, the epoch it is in, and whether its node's lease is alive.
function state.epoch()
    return {box.info.uuid, state.get('epoch'), state.leased()}
end

-- Of each page, {campaign, segment, from_id}, whether it is on the tubes.
function state.marked(pages)
    local answers = {}
    for i, page in ipairs(pages) do
        answers[i] = box.space.tubes_marks:get({page[1], page[2], page[3]}) ~= nil
    end
    return answers
end

-- Campaigns that still have marks.
function state.marked_campaigns()
    local list, marks = {}, box.space.tubes_marks
    local row = marks.index.id:min()
    while row ~= nil do
        table.insert(list, row.campaign)
        row = marks.index.id:select({row.campaign}, {iterator = 'GT', limit = 1})[1]
    end
    return list
end

local ROWS_A_STEP = 100

-- Inside the caller's transaction: delete up to ROWS_A_STEP of a space's rows with this key. Returns whether there may be
-- more.
function state.clear_some(space, key)
    local index = box.space[space].index[0]
    local rows = index:select(key, {limit = ROWS_A_STEP})
    for _, row in ipairs(rows) do
        local whole = {}
        for i, part in ipairs(index.parts) do
            whole[i] = row[part.fieldno]
        end
        index:delete(whole)
    end
    return #rows == ROWS_A_STEP
end

-- Delete a space's rows with this key, in small steps; if it is interrupted, the next call deletes the rest.
function state.clear(space, key)
    while atomic(state.clear_some, space, key) do
        fiber.yield()
    end
end

-- Forget the marks of a campaign that is over.
function state.marks_drop(campaign)
    state.clear('tubes_marks', {campaign})
end

return state
