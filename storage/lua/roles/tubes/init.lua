-- The queue role: a node's own tubes, marks, epoch, lease and outbox. Verbs are called as `tubes.NAME`.

local cut_off = require('roles.tubes.cut_off') -- before whatever needs the queue
local memory = require('roles.memory')
local publish = require('roles.verbs')
local batches = require('roles.tubes.batches')
local batons = require('roles.tubes.batons')
local buried = require('roles.tubes.buried')
local epochs = require('roles.tubes.epochs')
local node_tubes = require('roles.tubes.node_tubes')
local outbox = require('roles.tubes.outbox')
local paced_campaigns = require('roles.tubes.paced_campaigns')
local paused_campaigns = require('roles.tubes.paused_campaigns')
local schema = require('roles.tubes.schema')
local settlements = require('roles.tubes.settlements')
local state = require('roles.tubes.state')
local stops = require('roles.tubes.stops')
local takes = require('roles.tubes.takes')
local unsure = require('roles.tubes.unsure')
local whereabouts = require('roles.tubes.whereabouts')
local workers = require('roles.tubes.workers')

local tubes = {}

function tubes.start(channels)
    schema.migrate()
    outbox.start()
    workers.start()
    paced_campaigns.start()
    node_tubes.ensure(channels)
    unsure.mark_all(cut_off)
    publish('tubes', {
        identify = workers.identify,
        epoch = state.epoch,
        standing = epochs.standing,
        renew = epochs.renew,
        stop = stops.stop,
        stopped = stops.wait,
        adopt = epochs.adopt,
        marked = state.marked,
        marked_campaigns = state.marked_campaigns,
        marks_drop = state.marks_drop,
        baton_put = batons.baton_put,
        baton_take = batons.baton_take,
        baton_ack = batons.baton_ack,
        baton_release = batons.baton_release,
        baton_release_worker = batons.baton_release_worker,
        page_put = settlements.page_put,
        paced = paced_campaigns.list,
        pace = function(rates)
            paced_campaigns.set(rates, paused_campaigns.is_paused)
        end,
        batch_take = batches.batch_take,
        batch_release = batches.batch_release,
        batch_release_worker = batches.batch_release_worker,
        batch_bury = batches.batch_bury,
        baton_bury = batons.baton_bury,
        baton_crashed = batons.baton_crashed,
        worker_stopping = takes.worker_stopping,
        batch_crashed = batches.batch_crashed,
        settle = settlements.settle,
        outbox_read = outbox.read,
        outbox_age = outbox.age,
        tube_buried = batches.tube_buried,
        tube_kick = batches.tube_kick,
        tube_end = batches.tube_end,
        batches_expire = buried.expire,
        statistics = node_tubes.statistics,
        batch_of = whereabouts.batch_of,
        memory = memory.usage,
    }, {'baton_put', 'stop', 'batch_of'})
end

return tubes
