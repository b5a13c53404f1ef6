-- Version 1: all of the queue's own spaces. `tubes_state` exists already: it holds the version.

return function()
    -- The pages that were put in this epoch.
    local s = box.schema.space.create('tubes_marks', {format = {
        {'campaign', 'unsigned'}, {'segment', 'unsigned'}, {'seq', 'unsigned'},
    }})
    s:create_index('id', {parts = {'campaign', 'segment', 'seq'}})

    s = box.schema.space.create('tubes_outbox', {format = {
        {'number', 'unsigned'}, {'line', 'map'}, {'written_at', 'unsigned'},
    }})
    s:create_index('number', {parts = {'number'}})

    -- Each task that is taken: the worker, the take and its poll, whether an end without a result counts against the
    -- task, and the worker's session. Lost with the instance, like the takes themselves.
    s = box.schema.space.create('tubes_taken', {temporary = true, format = {
        {'tube', 'string'}, {'id', 'unsigned'}, {'number', 'unsigned'}, {'worker', 'string'}, {'poll', 'unsigned'},
        {'excused', 'boolean'}, {'life', 'unsigned', is_nullable = true},
    }})
    s:create_index('id', {parts = {'tube', 'id'}})
    s:create_index('worker', {parts = {'worker', 'tube'}, unique = false})

    -- `ends`: takes that ended without a result. `sent`: recipients that may have got the push before the burial.
    s = box.schema.space.create('tubes_poison_counters', {format = {
        {'tube', 'string'}, {'id', 'unsigned'}, {'crashes', 'unsigned'}, {'why', 'string'}, {'ends', 'unsigned'},
        {'sent', 'unsigned', is_nullable = true},
    }})
    s:create_index('id', {parts = {'tube', 'id'}})

    -- Batches of paused campaigns. `counter`: the batch's poison counter, without its key.
    s = box.schema.space.create('tubes_parked', {format = {
        {'number', 'unsigned'}, {'campaign', 'unsigned'}, {'tube', 'string'}, {'data', 'array'},
        {'counter', 'array', is_nullable = true},
    }})
    s:create_index('number', {parts = {'number'}})
    s:create_index('campaign', {parts = {'campaign', 'number'}})
end
