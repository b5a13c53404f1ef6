-- The queue role: a node's own tubes, marks, epoch, lease and outbox. Verbs are called as `tubes.NAME`.

local memory = require('roles.memory')
local publish = require('roles.verbs')
local buried = require('roles.tubes.buried')
local holds = require('roles.tubes.holds')
local outbox = require('roles.tubes.outbox')
local state = require('roles.tubes.state')
local suspects = require('roles.tubes.suspects')
local work = require('roles.tubes.work')
local workers = require('roles.tubes.workers')

local tubes = {}

function tubes.start(channels)
    state.migrate()
    suspects.migrate()
    holds.migrate()
    outbox.start()
    work.ensure(channels)
    publish('tubes', {
        identify = workers.identify,
        epoch = state.epoch,
        standing = work.standing,
        renew = work.renew,
        adopt = work.adopt,
        marked = state.marked,
        marked_campaigns = state.marked_campaigns,
        marks_drop = state.marks_drop,
        baton_put = work.baton_put,
        baton_take = work.baton_take,
        baton_ack = work.baton_ack,
        baton_release = work.baton_release,
        baton_release_worker = work.baton_release_worker,
        page_put = work.page_put,
        batch_take = work.batch_take,
        batch_release = work.batch_release,
        batch_release_worker = work.batch_release_worker,
        batch_bury = work.batch_bury,
        baton_bury = work.baton_bury,
        baton_crashed = work.baton_crashed,
        worker_stopping = work.worker_stopping,
        batch_crashed = work.batch_crashed,
        settle = work.settle,
        outbox_read = outbox.read,
        outbox_age = outbox.age,
        tube_buried = work.tube_buried,
        tube_kick = work.tube_kick,
        tube_end = work.tube_end,
        batches_expire = buried.expire,
        statistics = work.statistics,
        memory = memory.usage,
    }, {'baton_put'})
end

return tubes
