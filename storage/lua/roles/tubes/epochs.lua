-- Clauses 1 and 6: the epoch in which this queue's work counts, and the lease without which it hands out nothing.

local queue = require('queue')
local atomic = require('roles.atomic')
local clock = require('roles.clock')
local outbox = require('roles.tubes.outbox')
local paused_campaigns = require('roles.tubes.paused_campaigns')
local state = require('roles.tubes.state')
local stops = require('roles.tubes.stops')
local texts = require('roles.tubes.texts')

local epochs = {}

local WORK = {'tubes_marks', 'tubes_outbox', 'tubes_taken', 'tubes_parked', 'tubes_poison_counters'}

-- Clause 1: a queue that is blank, restored or forgotten deletes its work and starts in a new epoch.
function epochs.adopt(epoch)
    if state.get('epoch') == epoch then
        return false
    end
    -- purging yields: meanwhile nothing may be put or taken in the old epoch
    state.end_lease()
    for _, name in ipairs(queue.tube()) do
        queue.tube[name]:truncate()
    end
    for _, space in ipairs(WORK) do
        state.clear(space, {})
    end
    -- the last step, with what has come during the others: a queue that is interrupted before it begins again
    atomic(function()
        for _, space in ipairs(WORK) do
            while state.clear_some(space, {}) do end
        end
        state.set('line', 0)
        state.set('epoch', epoch)
    end)
    outbox.start() -- its numbers start again
    return true
end

-- What a node's heartbeat needs to know: {clock, still, stops}, see `state.renew`, `paused_campaigns.still`, `stops.wait`.
function epochs.standing()
    local asked, known = clock.now(), stops.count()
    return {asked, paused_campaigns.still(), known}
end

-- Renew the lease, and with it the list of paused campaigns, and the versions of corrected texts. `asked`: nil for now.
function epochs.renew(epoch, seconds, asked, paused, versions)
    if not state.renew(epoch, seconds, asked == nil and clock.now() or asked) then
        return false
    end
    texts.set(versions)
    paused_campaigns.set(paused)
    return true
end

return epochs
